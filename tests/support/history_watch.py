"""What happens on a host while `supervise` looks after it, seen from outside: changes by their journals, counts by Docker."""

import contextlib
import itertools
import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.host import TestHost

LOOK_SECONDS = 0.05
COUNT_SECONDS = 1.0


class Begun(NamedTuple):
    """A change as its journal was first seen; monotonic seconds."""

    moment: float
    service: str
    action: str


class HistoryWatch:
    """`with HistoryWatch(host, services, pid) as watch`; `disturb(service)` says that a count may be wrong for a while."""

    def __init__(self, host: TestHost, services: list[str], pid: int) -> None:
        self.changes: dict[str, Begun] = {}
        self.wrong_for: dict[str, float] = dict.fromkeys(services, 0.0)  # longest time without a reason
        self.strays: dict[str, float] = {}  # containers of no live release and no change, and for how long
        self.resident: list[float] = []  # MiB, once a look at the counts
        self.threads = 0
        self.broken = ""
        self._host = host
        self._pid = pid
        self._fine = dict.fromkeys(services, time.monotonic())
        self._stray_since: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def disturb(self, service: str) -> None:
        """From now on it has time again."""
        self._fine[service] = time.monotonic()

    def gaps(self, action: str) -> list[float]:
        """Seconds between two beginnings of such a change of one service, all services together."""
        found = []
        for service in self._fine:
            moments = sorted(c.moment for c in self.changes.values() if (c.service, c.action) == (service, action))
            found += [b - a for a, b in itertools.pairwise(moments)]
        return found

    def right(self, service: str) -> bool:
        """Exactly as many containers run as are wanted, all of the live release, and no change is under way."""
        wanted = self._host.wanted(service)
        if wanted is None or self._host.journal(service) is not None:
            return False
        count = wanted["release"]["definition"]["count"] if wanted["scale"] is None else wanted["scale"]
        states = [(c.labels["conductor.upgrade"], c.state) for c in self._host.containers(service)]
        return states == [(wanted["release"]["change"], "running")] * count

    def _watch(self) -> None:
        counted = 0.0
        try:
            while not self._over.wait(LOOK_SECONDS):
                self._look_at_journals()
                if time.monotonic() - counted >= COUNT_SECONDS:
                    counted = time.monotonic()
                    self._look_at_counts()
                    self._look_at_process()
        except Exception as error:  # noqa: BLE001 (told by whoever asks)
            self.broken = f"{type(error).__name__}: {error}"

    def _look_at_journals(self) -> None:
        for path in (self._host.state_dir / "journal").glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                journal = json.loads(path.read_text())
                begun = Begun(time.monotonic(), path.stem, journal["action"])
                self.changes.setdefault(journal["change"], begun)
                if begun.action != "supervise":
                    self.disturb(path.stem)

    def _look_at_counts(self) -> None:
        now = time.monotonic()
        strays = set()
        for service in self._fine:
            wanted = self._host.wanted(service)
            if self.right(service) or paused(wanted):
                self._fine[service] = now
            self.wrong_for[service] = max(self.wrong_for[service], now - self._fine[service])
            live = wanted["release"]["change"] if wanted else ""
            if self._host.journal(service) is None:
                there = self._host.containers(service)
                strays |= {
                    c.id for c in there if c.labels["conductor.upgrade"] != live and not (wanted or {})["paused"]
                }
        self._stray_since = {one: self._stray_since.get(one, now) for one in strays}
        for one, since in self._stray_since.items():
            self.strays[one] = max(self.strays.get(one, 0.0), now - since)

    def _look_at_process(self) -> None:
        status = Path(f"/proc/{self._pid}/status").read_text()
        self.resident.append(int(status.split("VmRSS:")[1].split()[0]) / 1024)
        self.threads = max(self.threads, int(status.split("Threads:")[1].split()[0]))

    def __enter__(self) -> "HistoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def paused(wanted: dict[str, Any] | None) -> bool:
    """Supervise is told to leave it alone, still."""
    held = wanted["paused"] if wanted else None
    return held is not None and (not held["until"] or datetime.fromisoformat(held["until"]) > datetime.now(UTC))
