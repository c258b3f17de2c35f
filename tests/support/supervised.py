"""A host under `conductor supervise`: faults that a test sets in containers, and conditions that it waits for."""

import itertools
import json
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
    """`supervise` on a host whose containers read their faults from a directory."""

    def __init__(self, host: TestHost) -> None:
        self.host = host
        self.sick = host.directory / "sick"
        self.sick.mkdir()
        shutil.copy(SICK, self.sick / "app.py")
        self.spawned: Spawned | None = None
        self.events = Events(host)

    def service(self, **over: Any) -> dict[str, Any]:
        """Return a definition with short health times, whose containers read their faults."""
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
        """Start `supervise`; return after its first pass."""
        self.events.since = self.events.since or time.time()
        self.spawned = spawned = self.host.spawn("supervise", **options)
        self.host.wait_for(
            lambda: self.status().get("pid") == spawned.pid or not spawned.running(), "the first pass of supervise"
        )
        assert spawned.running(), spawned.stderr
        return spawned

    def end(self) -> None:
        """Kill `supervise` if it runs, and stop listening to Docker."""
        if self.spawned is not None:
            self.spawned.end()
        self.events.close()

    @property
    def log(self) -> str:
        """The log of `supervise` so far."""
        return self.spawned.stderr if self.spawned is not None else ""

    def started(self, service: str = "web") -> list[str]:
        """Return the actions on a service that the log reports as started, without retries of failed ones."""
        return started_actions(self.log, service)

    def has_yielded(self, service: str = "web") -> bool:
        """True once `supervise` has stopped an action on a service because a command waited for its lock."""
        return (
            re.search(
                rf"^{service}: \S+ stopped: a command is waiting for the lock, or supervise is exiting$",
                self.log,
                re.MULTILINE,
            )
            is not None
        )

    def status(self) -> dict[str, Any]:
        """Return what `supervise` published; empty before its first pass."""
        path = self.host.runtime_dir / "supervise.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def service_status(self, service: str = "web") -> dict[str, Any]:
        """Return what `supervise` published about one service; empty when the service is as wanted."""
        return dict(self.status().get("services", {}).get(service, {}))

    def condition(self, service: str = "web") -> str:
        """Return the published condition of a service; empty when the service is as wanted."""
        return str(self.service_status(service).get("reason", {}).get("condition", ""))

    def checks(self, container: Container, since: float) -> list[float]:
        """Return when a container received health checks, from its own log."""
        log = self.host.daemon.api.logs(container.id, timestamps=True, since=int(since)).decode()
        stamps = [line.partition(" ")[0] for line in log.splitlines() if line.endswith(" asked")]
        return [datetime.fromisoformat(stamp[:26] + "+00:00").timestamp() for stamp in stamps]

    def set_fault(self, fault: str, *containers: Container) -> None:
        """Set a fault in these containers, or in all."""
        for name in [c.address for c in containers] or ["all"]:
            (self.sick / name).write_text(fault)

    def clear_faults(self) -> None:
        """Remove all faults."""
        for path in self.sick.glob("[!a]*"):
            path.unlink()
        (self.sick / "all").unlink(missing_ok=True)

    def running(self, service: str = "web") -> list[Container]:
        """Return the running replicas of a service."""
        return [c for c in self.host.containers(service) if c.state == "running" and c.kind == "service"]

    def served(self, service: str = "web") -> set[str]:
        """Return the IP addresses in nginx's file of a service."""
        text = (self.host.nginx.include_dir / f"{service}.conf").read_text()
        return set(re.findall(r"^\s*server (\S+?):8080", text, re.MULTILINE))

    def wait_until_right(self, count: int, service: str = "web", timeout: float = 20) -> list[Container]:
        """Wait until exactly `count` replicas exist and run, nginx serves exactly these, and no change is in progress.

        Return the replicas.
        """

        def is_right() -> bool:
            there = self.host.containers(service)
            running = [c for c in there if c.state == "running"]
            return (
                len(there) == len(running) == count
                and self.served(service) == {c.address for c in running}
                and self.host.journal(service) is None
            )

        self.host.wait_for(is_right, f"{count} replicas of {service}; log of supervise:\n{self.log}", timeout)
        return self.running(service)

    def holds_for(self, seconds: float, condition: Callable[[], Any]) -> None:
        """Assert that a condition is true during all of this time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert condition(), self.log
            time.sleep(0.05)


class Events:
    """Docker's events of the host's containers, with their times."""

    def __init__(self, host: TestHost) -> None:
        import docker

        self.seen: list[tuple[float, str, str, str]] = []  # time, action, service, container
        self.since = 0.0
        self._api: Any = docker.APIClient(base_url=host.daemon.url, version="auto", timeout=600)
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

    def of(self, kind: str, service: str = "web") -> list[float]:
        """Return the times of one kind of event since `supervise` was started."""
        return [t for t, action, whose, _ in list(self.seen) if (action, whose) == (kind, service) and t >= self.since]

    def close(self) -> None:
        """Stop listening."""
        self._stream.close()


def started_actions(log: str, service: str = "web") -> list[str]:
    """Return the actions on a service that a log of `supervise` reports as started."""
    return re.findall(rf"^(?:<\d>)?{service}: (\S+) started: ", log, re.MULTILINE)


def gaps(moments: list[float]) -> list[float]:
    """Return the time from each moment to the next."""
    return [b - a for a, b in itertools.pairwise(moments)]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its ended children have used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(word) for word in words[11:15]) / os.sysconf("SC_CLK_TCK")
