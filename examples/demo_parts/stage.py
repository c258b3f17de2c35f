"""What the demo stands on: images of four revisions, an nginx, a definitions file, and the command that reads it."""

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
BASE = "conductor-example-base:bookworm"  # what `build` makes when it is not there
REVISIONS = {"1": (), "2": (), "3": ("--broken", "unhealthy"), "4": ()}
PORT = 8090
NGINX_SECONDS = 5.0


class StageError(Exception):
    """Something that the demo needs could not be made; a sentence."""


class Stage(NamedTuple):
    """Where and as what this demo runs; `name` is that of its network, volume and images."""

    directory: Path
    name: str
    instance: str

    @property
    def conductor(self) -> Path:
        """The installed command with this demo's definitions."""
        return self.directory / "conductor"

    @property
    def history(self) -> Path:
        """One line per action of Conductor."""
        return self.directory / "state" / "history.jsonl"

    def build(self) -> None:
        """Build the app's revisions without a registry."""
        environment = dict(os.environ)
        if not succeeds("docker", "image", "inspect", BASE):
            (self.directory / "setup" / "base-image").write_text(BASE)
            home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            if not (home / "conductor" / "python3-bookworm.tar").exists():
                environment["XDG_CACHE_HOME"] = str(self.directory / "cache")
        for revision, how in REVISIONS.items():
            words = [sys.executable, str(BUILD), revision, "--image", self.name, *how]
            # a session of its own, so that Ctrl-C reaches it once and in order: it has things to clean up
            with subprocess.Popen(
                words,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            ) as process:
                try:
                    said, _ = process.communicate()
                except BaseException:
                    process.terminate()
                    process.communicate()
                    raise
            if process.returncode != 0:
                raise StageError(said.strip())

    def prepare(self, claims: Claims) -> int:
        """Write the definitions, the nginx configuration and the command; the port that nginx will listen on."""
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
        for source, target in (("services.yml", "services.yml"), ("nginx.conf", "nginx/nginx.conf")):
            (self.directory / target).write_text(Template((HERE / source).read_text()).substitute(values))
        command = self.directory / "venv" / "bin" / "conductor"
        config = self.directory / "services.yml"
        self.conductor.write_text(f'#!/bin/sh\nCONDUCTOR_CONFIG="{config}" exec "{command}" "$@"\n')
        self.conductor.chmod(0o755)
        return port

    def start_nginx(self, port: int) -> None:
        """Start it, with the files in place that `conductor nginx install` writes, and wait until it listens."""
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
                env=environment_of_conductor(),
                start_new_session=True,
            )
            if done.returncode != 0:
                raise StageError(f"cannot start nginx: {done.stderr.strip()}")
        until = time.monotonic() + NGINX_SECONDS
        while not listens(port):
            if time.monotonic() > until:
                raise StageError(f"cannot start nginx: nobody listens on port {port}; see {log}")
            time.sleep(0.02)


def environment_of_conductor() -> dict[str, str]:
    """Ours, without what would make it import another copy than the installed one."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def nginx_binary() -> str:
    """Where nginx is."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise StageError("cannot start nginx: it is not installed")
    return found


def succeeds(*words: str) -> bool:
    """Whether a command ends with 0."""
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def free_port(claims: Claims) -> int:
    """The port that README speaks of, or another when somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", PORT))
        except OSError:
            return claims.port()
    return PORT


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
