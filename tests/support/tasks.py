"""Helpers for tests of one-off tasks: the service, several tasks at once, and what a task must not leave behind."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.aftermath import QUICK
from tests.support.commands import Result
from tests.support.host import TestHost, merged

SECRET = "tok-task-77e0b1c4"
RUN = ("run", "--id", "web")


def definition(host: TestHost, **more: Any) -> dict[str, Any]:
    """Return one replica without nginx, with a secret and a volume at /volume, merged with `more`."""
    volume(host).mkdir(exist_ok=True)
    secret = host.directory / "token"
    secret.write_text(f"{SECRET}\n")
    mine = {
        "env": {"GREETING": "hello", "TOKEN": {"file": str(secret)}},
        "volumes": [f"{volume(host)}:/volume"],
    }
    return {**merged(merged(QUICK, mine), more), "nginx": None}


def volume(host: TestHost) -> Path:
    """Return the directory that is the volume on the host."""
    return host.directory / "volume"


def at_once(host: TestHost, *commands: tuple[str, ...], timeout: float = 120, **popen: Any) -> list[Result]:
    """Run several commands side by side."""
    spawned = [host.spawn(*words, **popen) for words in commands]
    return [one.wait(timeout) for one in spawned]


def shell(host: TestHost, line: str, *words: str, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    """Run a line of shell whose "$@" is `conductor WORDS`, for redirections and pipes."""
    argv = ["bash", "-c", line, "bash", sys.executable, "-m", "conductor", *words]
    return subprocess.run(argv, env=host.environment(), capture_output=True, timeout=60, check=False, **options)


def left(host: TestHost) -> list[str]:
    """Return the containers of tasks, the journals and the processes of conductor that still exist."""
    containers = [f"{c.name} {c.state}" for c in host.containers() if c.kind != "service"]
    journals = [path.name for path in (host.state_dir / "journal").glob("*")]
    return containers + journals + processes(host)


def processes(host: TestHost) -> list[str]:
    """Return the command lines of the processes of conductor that use this host's definitions."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"CONDUCTOR_CONFIG={host.config}".encode() in environment and words[1:3] == [b"-m", b"conductor"]:
            found.append(b" ".join(words).decode(errors="replace"))
    return found


def tasks_of(host: TestHost, **labels: str) -> list[Any]:
    """Return the containers of tasks with these labels."""
    wanted = {f"conductor.{name}": value for name, value in labels.items()}
    return [c for c in host.containers() if c.kind != "service" and wanted.items() <= c.labels.items()]


def discard(host: TestHost) -> None:
    """Remove the containers of tasks, because the next test expects none."""
    for c in tasks_of(host):
        host.daemon.api.remove_container(c.id, force=True)


def job(host: TestHost, key: str, service: str = "web") -> dict[str, Any]:
    """Return the recorded result of a cron job's last run."""
    found: dict[str, Any] = json.loads((host.state_dir / "jobs" / service / f"{key}.json").read_text())
    return found


def elsewhere(host: TestHost, url: str) -> Path:
    """Write the same definitions with another address of the daemon; return their path."""
    path = host.directory / f"elsewhere-{os.urandom(3).hex()}.yml"
    old = host.default_host()["docker"]
    path.write_text(host.config.read_text().replace(f"docker: {old}", f"docker: {url}"))
    return path
