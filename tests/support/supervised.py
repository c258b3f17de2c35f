"""A host under `conductor supervise`: what a test makes ill, and what it waits for."""

import itertools
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.commands import Spawned
from tests.support.daemon import Container
from tests.support.host import TestHost, merged

SICK = Path(__file__).with_name("sick_app.py")
HEALTH = {"interval": "500ms", "gate_interval": "100ms", "timeout": "500ms", "start_timeout": "4s", "failures": 3}


class Supervised:
    """`supervise` on a host, whose containers can be made ill."""

    def __init__(self, host: TestHost) -> None:
        self.host = host
        self.sick = host.directory / "sick"
        self.sick.mkdir()
        shutil.copy(SICK, self.sick / "app.py")
        self.spawned: Spawned | None = None
        self.events = Events(host)

    def service(self, **over: Any) -> dict[str, Any]:
        """One that is quick to be missed, and can be made ill."""
        return merged(
            {
                "env": {"BOOT": "0.05"},
                "command": ["python3", "-I", "-S", "-B", "/sick/app.py"],
                "volumes": [f"{self.sick}:/sick:ro"],
                "health": HEALTH,
                "nginx": {"drain": "5s"},
                "stop": {"grace": "1s"},
            },
            over,
        )

    def start(self, **options: Any) -> Spawned:
        """Begin to supervise; returns when the loop turns."""
        self.events.since = self.events.since or time.time()
        self.spawned = self.host.spawn("supervise", **options)
        spawned = self.spawned
        self.host.wait_for(lambda: "supervising " in spawned.stderr or not spawned.running(), "supervise to turn")
        assert spawned.running(), spawned.stderr
        self.host.wait_for(lambda: self.notes().get("pid") == spawned.pid, "its first look")
        return spawned

    def end(self) -> None:
        """However it stands."""
        if self.spawned is not None:
            self.spawned.end()
        self.events.close()

    @property
    def said(self) -> str:
        """All that it has said so far."""
        return self.spawned.stderr if self.spawned is not None else ""

    def notes(self) -> dict[str, Any]:
        """What it has noted for `status`."""
        import json

        path = self.host.runtime_dir / "supervise.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def asked(self, container: Container, since: float) -> list[float]:
        """When its health was asked for, by its own log."""
        log = self.host.daemon.api.logs(container.id, timestamps=True, since=int(since)).decode()
        stamps = [line.partition(" ")[0] for line in log.splitlines() if line.endswith(" asked")]
        return [datetime.fromisoformat(stamp[:26] + "+00:00").timestamp() for stamp in stamps]

    def make(self, fault: str, *containers: Container) -> None:
        """Ill from now on: these, or all."""
        for name in [c.address for c in containers] or ["all"]:
            (self.sick / name).write_text(fault)

    def heal(self) -> None:
        """All are as they should be."""
        for path in self.sick.glob("[!a]*"):
            path.unlink()
        (self.sick / "all").unlink(missing_ok=True)

    def running(self, service: str = "web") -> list[Container]:
        """Running containers of a service."""
        return [c for c in self.host.containers(service) if c.state == "running" and c.kind == "service"]

    def served(self, service: str = "web") -> set[str]:
        """The addresses in nginx's file."""
        text = (self.host.nginx.include_dir / f"{service}.conf").read_text()
        return set(re.findall(r"^\s*server (\S+?):8080", text, re.MULTILINE))

    def settled(self, count: int, service: str = "web", timeout: float = 20) -> list[Container]:
        """Wait until exactly `count` run, nginx knows exactly them, and nothing is under way; they are returned."""

        def is_so() -> bool:
            there = self.host.containers(service)
            running = [c for c in there if c.state == "running"]
            return (
                len(there) == len(running) == count
                and self.served(service) == {c.address for c in running}
                and self.host.journal(service) is None
            )

        self.host.wait_for(is_so, f"{count} of {service}; supervise said:\n{self.said}", timeout)
        return self.running(service)

    def stays(self, condition: Callable[[], Any], seconds: float) -> None:
        """It holds all the time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert condition(), self.said
            time.sleep(0.05)


class Events:
    """Docker's events of the host's containers, with the moments at which they came."""

    def __init__(self, host: TestHost) -> None:
        import docker

        from tests.support.daemon import SOCKET

        self.seen: list[tuple[float, str, str, str]] = []  # when, what, service, container
        self.since = 0.0
        self._api: Any = docker.APIClient(base_url=SOCKET, version="auto", timeout=600)
        filters = {"type": "container", "label": [f"conductor.instance={host.instance}"]}
        self._stream = self._api.events(decode=True, filters=filters)
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        try:
            for event in self._stream:
                labels = event["Actor"]["Attributes"]
                service = labels.get("conductor.service", "")
                self.seen.append((event["timeNano"] / 1e9, event["Action"], service, event["id"]))
        except Exception:  # noqa: BLE001 (closed)
            return

    def of(self, what: str, service: str = "web") -> list[float]:
        """The moments of one kind since `supervise` was begun."""
        return [t for t, action, whose, _ in list(self.seen) if (action, whose) == (what, service) and t >= self.since]

    def close(self) -> None:
        """No more of them."""
        self._stream.close()


def gaps(moments: list[float]) -> list[float]:
    """From each to the next."""
    return [b - a for a, b in itertools.pairwise(moments)]


def children(pid: int) -> list[int]:
    """Processes that a process has begun."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in task.read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, with what it has begun."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(word) for word in words[11:15]) / os.sysconf("SC_CLK_TCK")
