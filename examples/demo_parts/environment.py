"""The demo's environment: images of four revisions, an nginx, definitions, and a command that reads them."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from string import Template
from typing import NamedTuple

from tests.support.claims import Claims

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "payments" / "build"
BASE = "conductor-example-base:bookworm"  # created by `build` if it is missing
REVISIONS = {"r1": (), "r2": (), "r3": ("--broken", "unhealthy"), "r4": ()}
PORT = 8090
NGINX_SECONDS = 5.0


class SetupError(Exception):
    """A part of the environment could not be created."""


class Environment(NamedTuple):
    """The demo's directory, the name of its network, volume and images, and its Conductor instance."""

    directory: Path
    name: str
    instance: str

    @property
    def conductor(self) -> Path:
        """The installed command with the demo's definitions."""
        return self.directory / "conductor"

    @property
    def history(self) -> Path:
        """Conductor's history, one JSON line per action."""
        return self.directory / "state" / "history.jsonl"

    def build(self) -> None:
        """Build the images of all revisions."""
        environment = dict(os.environ)
        if not succeeds("docker", "image", "inspect", BASE):
            (self.directory / "setup" / "base-image").write_text(BASE)
            home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            if not (home / "conductor" / "python3-bookworm.tar").exists():
                environment["XDG_CACHE_HOME"] = str(self.directory / "cache")
        for revision, options in REVISIONS.items():
            words = [sys.executable, str(BUILD), revision, "--image", self.name, *options]
            # in its own session, Ctrl-C does not reach it directly, and it can clean up
            with subprocess.Popen(
                words,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            ) as process:
                try:
                    output, _ = process.communicate()
                except BaseException:
                    process.terminate()
                    process.communicate()
                    raise
            if process.returncode != 0:
                raise SetupError(output.strip())

    def prepare(self, claims: Claims) -> int:
        """Write the definitions, the nginx configuration and the command; return nginx's port."""
        for part in ("nginx/conductor.d", "nginx/modules-enabled", "nginx/temp", "run", "cron.d"):
            path = self.directory / part
            path.mkdir(parents=True)
            path.chmod(0o755)
        port, subnet = free_port(claims), claims.subnet()
        values = {
            "directory": self.directory,
            "name": self.name,
            "instance": self.instance,
            "docker": os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock",
            "subnet": subnet,
            "tasks": subnet.rpartition(".")[0] + ".192/26",
            "nginx": nginx_binary(),
            "port": port,
            "user": "user www-data;\n" if any(entry.pw_name == "www-data" for entry in pwd.getpwall()) else "",
        }
        for template, target in (("services.yml", "services.yml"), ("nginx.conf", "nginx/nginx.conf")):
            (self.directory / target).write_text(Template((HERE / template).read_text()).substitute(values))
        command = self.directory / "venv" / "bin" / "conductor"
        config = self.directory / "services.yml"
        self.conductor.write_text(f'#!/bin/sh\nCONDUCTOR_CONFIG="{config}" exec "{command}" "$@"\n')
        self.conductor.chmod(0o755)
        return port

    def start_nginx(self, port: int) -> None:
        """Run `conductor nginx install`, start nginx and wait until it listens."""
        config, log = self.directory / "nginx" / "nginx.conf", self.directory / "nginx" / "error.log"
        for words in (
            [str(self.conductor), "nginx", "install"],
            [nginx_binary(), "-e", str(log), "-p", str(config.parent), "-c", str(config)],
        ):
            done = subprocess.run(
                words,
                check=False,
                text=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=conductor_environment(),
                start_new_session=True,
            )
            if done.returncode != 0:
                raise SetupError(f"cannot run {' '.join(map(str, words))}: {done.stderr.strip()}")
        until = time.monotonic() + NGINX_SECONDS
        while not listens(port):
            if time.monotonic() > until:
                raise SetupError(f"cannot start nginx: it is not listening on port {port}; see {log}")
            time.sleep(0.02)


def conductor_environment() -> dict[str, str]:
    """Return the environment without PYTHONPATH, so that the installed Conductor is imported."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def nginx_binary() -> str:
    """Return the path of nginx."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise SetupError("cannot start nginx: it is not installed")
    return found


def succeeds(*words: str) -> bool:
    """Return whether a command exits with 0."""
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def free_port(claims: Claims) -> int:
    """Return port 8090, or another one if it is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", PORT))
        except OSError:
            return claims.port()
    return PORT


def listens(port: int) -> bool:
    """Return whether a local port accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
