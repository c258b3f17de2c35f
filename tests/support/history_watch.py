"""Watches a host while `supervise` runs, from outside: changes by their journals, replicas by Docker."""

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


class SeenChange(NamedTuple):
    """A change when its journal was first seen; `moment` is in seconds since 1970."""

    moment: float
    service: str
    action: str


class HistoryWatch:
    """`with HistoryWatch(host, services, pid) as watch`; after `disturb(service)` a wrong count is expected for a while."""

    def __init__(self, host: TestHost, services: list[str], pid: int) -> None:
        self.changes: dict[str, SeenChange] = {}
        self.wrong_for: dict[str, float] = dict.fromkeys(
            services, 0.0
        )  # the longest time, in seconds, with a wrong count and no change
        self.strays: dict[str, float] = {}  # seconds for which containers of no live release and no change existed
        self.repaired_while_paused: list[SeenChange] = []  # repairs of a paused service
        self.resident: list[float] = []  # MiB, one figure per look at the counts
        self.threads = 0
        self.broken = ""
        self._host = host
        self._pid = pid
        self._fine = dict.fromkeys(services, time.monotonic())
        self._paused_since: dict[str, float] = {}
        self._stray_since: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def disturb(self, service: str) -> None:
        """Restart the time for which a wrong count of this service is measured."""
        self._fine[service] = time.monotonic()

    def follow(self, pid: int) -> None:
        """Measure the memory of this process from now on."""
        self._pid, self.resident = pid, []

    def gaps(self) -> list[float]:
        """Return the seconds between two actions of supervise on one service, for all services: repairs by their journals, and
        replicas started again by the history."""
        seen = [c for c in self.changes.values() if c.action == "repair"]
        for line in (self._host.state_dir / "history.jsonl").read_text().splitlines():
            entry = json.loads(line)
            if entry["action"] == "restart-exited":
                moment = datetime.fromisoformat(entry["began"]).timestamp()
                seen.append(SeenChange(moment, entry["service"], entry["action"]))
        found = []
        for service in self._fine:
            moments = sorted(one.moment for one in seen if one.service == service)
            found += [b - a for a, b in itertools.pairwise(moments)]
        return found

    def right(self, service: str) -> bool:
        """Return whether exactly the wanted number of replicas exists and runs, all of the live release, and no change is in progress."""
        wanted = self._host.wanted(service)
        if wanted is None or self._host.journal(service) is not None:
            return False
        count = wanted["release"]["definition"]["count"] if wanted["scale"] is None else wanted["scale"]
        states = [(c.labels["conductor.release"], c.state) for c in self._host.containers(service)]
        return states == [(wanted["release"]["id"], "running")] * count

    def _watch(self) -> None:
        counted = 0.0
        try:
            while not self._over.wait(LOOK_SECONDS):
                self._look_at_journals()
                if time.monotonic() - counted >= COUNT_SECONDS:
                    counted = time.monotonic()
                    self._look_at_counts()
                    self._look_at_process()
        except Exception as error:  # noqa: BLE001 (the test asserts that `broken` is empty)
            self.broken = f"{type(error).__name__}: {error}"

    def _look_at_journals(self) -> None:
        for path in (self._host.state_dir / "journal").glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                journal = json.loads(path.read_text())
                seen = SeenChange(time.time(), path.stem, journal["action"])
                if seen.action != "repair":
                    self.disturb(path.stem)
                elif journal["change"] not in self.changes and self._is_paused(path.stem):
                    self.repaired_while_paused.append(seen)
                self.changes.setdefault(journal["change"], seen)

    def _look_at_counts(self) -> None:
        now = time.monotonic()
        strays = set()
        for service in self._fine:
            wanted = self._host.wanted(service)
            if not paused(wanted):
                self._paused_since.pop(service, None)
            elif service not in self._paused_since:
                self._paused_since[service] = now
            if self.right(service) or paused(wanted):
                self._fine[service] = now
            self.wrong_for[service] = max(self.wrong_for[service], now - self._fine[service])
            live = wanted["release"]["id"] if wanted else ""
            if self._host.journal(service) is None:
                there = self._host.containers(service)
                strays |= {
                    c.id for c in there if c.labels["conductor.release"] != live and not (wanted or {})["paused"]
                }
        self._stray_since = {one: self._stray_since.get(one, now) for one in strays}
        for one, since in self._stray_since.items():
            self.strays[one] = max(self.strays.get(one, 0.0), now - since)

    def _is_paused(self, service: str) -> bool:
        """Return whether it is paused, and has been for two looks: the files are not read at one instant."""
        since = self._paused_since.get(service)
        settled = since is not None and time.monotonic() - since > 2 * COUNT_SECONDS
        return settled and paused(self._host.wanted(service))

    def _look_at_process(self) -> None:
        try:
            status = Path(f"/proc/{self._pid}/status").read_text()
            resident = status.split("VmRSS:")[1]
        except (FileNotFoundError, ProcessLookupError, IndexError):  # killed, and not started again yet
            return
        self.resident.append(int(resident.split()[0]) / 1024)
        self.threads = max(self.threads, int(status.split("Threads:")[1].split()[0]))

    def __enter__(self) -> "HistoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def paused(wanted: dict[str, Any] | None) -> bool:
    """Return whether a pause is in force."""
    held = wanted["paused"] if wanted else None
    return held is not None and (not held["until"] or datetime.fromisoformat(held["until"]) > datetime.now(UTC))
