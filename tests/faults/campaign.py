"""Kills and faults at every point of an action: which points there are, what is done at each, and what must be true after it.

A point is the n-th request of a kind to Docker, the n-th run of nginx, or the n-th call of a system call. Nothing inside the product takes
part: a proxy stands before Docker's socket, a script before nginx's binary, and strace injects the signal.
"""

import contextlib
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from tests.support.aftermath import QUICK, nothing_left_behind
from tests.support.commands import Result
from tests.support.daemon_between import DaemonBetween, Fault, Place, places
from tests.support.host import TestHost, merged
from tests.support.images import REVISIONS
from tests.support.load import Load

REPAIRED_SECONDS = 30.0
WRITES = ("rename", "fsync")
ENDS = ("unlink", "kill")  # the end of a journal or of an announcement, and the signal to nginx
STREAMS = re.compile(r"/(events|wait|attach)\b")  # their responses have no end that a proxy could wait for
WRAPPER = """\
#!/bin/sh
number=$(($(cat {dir}/runs) + 1))
echo $number >{dir}/runs
[ "$(cat {dir}/kill)" != "$number before" ] || {{ kill -9 $PPID; exit 1; }}
{binary} "$@"
code=$?
[ "$(cat {dir}/kill)" != "$number after" ] || kill -9 $PPID
exit $code
"""

WEB = merged(QUICK, {"count": 2, "health": {"start_timeout": "20s"}})
WORKER = {
    "count": 1, "port": None, "nginx": None, "health": {"none": True, "stable_for": "300ms", "path": None, "gate_interval": None,
    "timeout": None, "start_timeout": None}, "stop": {"grace": "1s"},
}  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """The services, and the words of the action, which gets the next revision."""

    services: Mapping[str, dict[str, Any]]
    action: Callable[[str], tuple[str, ...]]
    counts: tuple[int, ...] = (2,)  # of `web`, before or after the action
    repairs: bool = False  # a replica is killed before the action

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.services)


def upgrade_of(*services: str) -> Callable[[str], tuple[str, ...]]:
    ids = tuple(word for service in services for word in ("--id", service))
    return lambda revision: ("service", "upgrade", *ids, "--revision", revision)


SCENARIOS = {
    "upgrade of a web service": Scenario({"web": WEB}, upgrade_of("web")),
    "upgrade of a worker": Scenario({"worker": WORKER}, upgrade_of("worker")),
    "upgrade of a web service and a worker": Scenario({"web": WEB, "worker": WORKER}, upgrade_of("web", "worker")),
    "upgrade with order: stop-first": Scenario({"worker": {**WORKER, "order": "stop-first"}}, upgrade_of("worker")),
    "rollback": Scenario({"web": WEB}, lambda _: ("service", "rollback", "--id", "web")),
    "scale": Scenario({"web": WEB}, lambda _: ("service", "scale", "--id", "web", "--count", "3"), (2, 3)),
    "repair": Scenario({"web": WEB}, lambda _: ("supervise", "--once"), repairs=True),
}


@dataclass(frozen=True)
class Point:
    """One point of an action, and one fault there."""

    where: str
    arm: Callable[["Campaign"], None]
    strace: tuple[str, ...] = ()


@dataclass
class Tally:
    """What a campaign has tried. `reached` counts points at which the fault was applied, `failures` are those that were not
    survived, `lost` the requests so far, `after` counts the exit codes of the action."""

    tried: int = 0
    reached: int = 0
    lost: int = 0
    failures: list[str] = field(default_factory=list)
    after: Counter[str] = field(default_factory=Counter)


class Campaign:
    """One scenario on one host. Used as a context manager."""

    def __init__(self, scenario: Scenario, cutover: str) -> None:
        self.scenario = scenario
        self._cutover = cutover
        self._stack = contextlib.ExitStack()
        self._revisions = cycle(REVISIONS)
        self.tally = Tally()

    def __enter__(self) -> "Campaign":
        self.host = self._stack.enter_context(TestHost(cutover=self._cutover))
        self.between = self._stack.enter_context(DaemonBetween(self.host.directory / "between.sock"))
        self._trace = self.host.directory / "strace"
        self._wrapped = self.host.directory / "wrapped"
        self._wrapped.mkdir()
        self.reset_nginx()
        binary = self._wrapped / "nginx"
        binary.write_text(WRAPPER.format(dir=self._wrapped, binary=self.host.nginx.binary))
        binary.chmod(0o755)
        self.host.define(
            self.scenario.services, host_extra={"docker": self.between.url, "nginx": {"binary": str(binary)}}
        )
        self.command(self._upgrade()).expect(0)
        self.command(self._upgrade()).expect(0)
        self._files = self.nginx_files()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # Points.

    def kills(self) -> Iterator[Point]:
        """Yield a kill before and after each request to Docker and each run of nginx, and at each rename, fsync,
        unlink and kill."""
        self.between.arm()
        self.reset_nginx()
        self.command(self.action()).expect(0)
        calls, runs = list(self.between.calls), int((self._wrapped / "runs").read_text())
        self.between.disarm()
        self.reset()
        for call, place in zip(calls, places(calls), strict=True):
            for done in (False,) if STREAMS.search(call) else (False, True):
                yield _docker(place, Fault("kill", done))
        for number in range(1, runs + 1):
            for when in ("before", "after"):
                yield Point(
                    f"killed {when} run {number} of nginx",
                    lambda campaign, number=number, when=when: campaign.reset_nginx(f"{number} {when}"),  # type: ignore[misc]
                )
        yield from self._at_system_calls(WRITES + ENDS, {"killed": "signal=SIGKILL"})

    def daemon_faults(self) -> Iterator[Point]:
        """Yield an error, a lost connection and a delay at each request to Docker."""
        self.between.arm()
        self.command(self.action()).expect(0)
        calls = list(self.between.calls)
        self.between.disarm()
        self.reset()
        for call, place in zip(calls, places(calls), strict=True):
            for fault in (Fault("500"), Fault("500", done=True), Fault("cut"), Fault("cut", done=True), Fault("delay")):
                if not (fault.done and STREAMS.search(call)):
                    yield _docker(place, fault)

    def disk_faults(self) -> Iterator[Point]:
        """Yield an error of the disk, and a full disk, at each rename and fsync."""
        yield from self._at_system_calls(WRITES, {"an error of the disk": "error=EIO", "a full disk": "error=ENOSPC"})

    def _at_system_calls(self, names: tuple[str, ...], injections: Mapping[str, str]) -> Iterator[Point]:
        counts = self._counts(names)
        for what, injection in injections.items():
            for name in names:
                for number in range(1, counts[name] + 1):
                    words = ("-e", f"trace={name}", "-e", f"inject={name}:{injection}:when={number}")
                    yield Point(f"{what} at {name} {number}", lambda _: None, words)

    def _counts(self, names: tuple[str, ...]) -> Counter[str]:
        """Return how many calls of each of `names` the main thread of the action makes. Its fsync of a journal is the first."""
        calls = re.findall(r"^(\d+) +(\w+)\(", self.traced(names), re.MULTILINE)
        self.reset()
        return Counter(name for pid, name in calls if pid == calls[0][0])

    def traced(self, names: tuple[str, ...]) -> str:
        """Run the action; return strace's lines of these calls, with the paths of open files."""
        self.command(self.action(), ("-y", "-e", f"trace={','.join(names)}")).expect(0)
        return self._trace.read_text()

    # What is done at each.

    def try_point(self, point: Point, load: Load | None) -> None:
        """Run the action with the fault, recover in one of two ways, and check what is left."""
        self.tally.tried += 1
        point.arm(self)
        result = self.command(self.action(), point.strace, check=False)
        self.tally.reached += (
            self.between.disarm()
            or result.code == -9
            or (
                bool(point.strace) and re.search(r"\(INJECTED\)|killed by SIGKILL", self._trace.read_text()) is not None
            )
        )
        self.reset_nginx()
        supervised = self.tally.tried % 2 == 1
        way = "supervise --once" if supervised else "the next upgrade"
        try:
            self._recover(supervised=supervised)
            self._check(unfinished=supervised)
        except AssertionError as error:
            self.tally.failures.append(f"{point.where}, then {way}: {error}\n{result}")
            self.reset()
        self.tally.after[f"exit code {result.code}"] += 1
        if load is not None and load.so_far()["lost"] > self.tally.lost:
            self.tally.failures.append(
                f"{point.where}, then {way}: {load.so_far()['lost'] - self.tally.lost} lost\n{result}"
            )
            self.tally.lost = load.so_far()["lost"]

    def _recover(self, *, supervised: bool) -> None:
        if not supervised:
            self.command(self._upgrade())
            return
        self.command(("supervise", "--once"))
        if self.scenario.repairs:  # the next attempt comes when the delay after a failed one is over
            until = time.monotonic() + REPAIRED_SECONDS
            while len(self.host.revisions()) != 2 and time.monotonic() < until:
                self.command(("supervise", "--once"))

    def _check(self, *, unfinished: bool) -> None:
        """Check that one release of all services serves, with the right count, and that nothing of the change is left."""
        revisions = set()
        for service in self.scenario.ids:
            wanted = self.host.wanted(service)
            assert wanted is not None
            assert wanted["release"] is not None
            revisions.add(wanted["release"]["revision"])
            running = len([c for c in self.host.containers(service) if c.state == "running"])
            allowed = self.scenario.counts if service == "web" else (1,)
            assert running in allowed, f"{running} replicas of {service}"
            nothing_left_behind(self.host, wanted["release"]["revision"], service, count=running, unfinished=unfinished)
        assert len(revisions) == 1, f"releases of different revisions: {revisions}"
        assert self.nginx_files() == self._files, f"{self.nginx_files()} instead of {self._files}"
        networks = self.host.daemon.api.networks(filters={"label": f"conductor.instance={self.host.instance}"})
        assert len(networks) == 1, networks

    # Commands.

    def command(self, words: tuple[str, ...], strace: tuple[str, ...] = (), *, check: bool = True) -> Result:
        """Run `conductor`, under strace when it gets arguments."""
        if not strace:
            return self.host.conductor(*words, check=check)
        done = subprocess.run(
            ["strace", "-f", "-o", self._trace, *strace, sys.executable, "-m", "conductor", *words],
            env=self.host.environment(), cwd=self.host.directory, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return Result(words, done.returncode, done.stdout, done.stderr, 0.0)

    def action(self) -> tuple[str, ...]:
        """Return the words of the action, with a revision that does not run now. Make what a repair repairs."""
        if self.scenario.repairs:
            self.host.kill(self.host.containers("web")[0].id)
        return self.scenario.action(self._next_revision())

    def reset(self) -> None:
        """Make a clean state for the next point."""
        self.command(self._upgrade()).expect(0)
        if "web" in self.scenario.ids:
            self.command(("service", "scale", "--id", "web", "--reset")).expect(0)

    def reset_nginx(self, kill: str = "never") -> None:
        """Count the runs of nginx from 0, and kill at one of them."""
        (self._wrapped / "runs").write_text("0\n")
        (self._wrapped / "kill").write_text(f"{kill}\n")

    def nginx_files(self) -> set[str]:
        return {path.name for path in self.host.nginx.include_dir.iterdir()}

    def _upgrade(self) -> tuple[str, ...]:
        return upgrade_of(*self.scenario.ids)(self._next_revision())

    def _next_revision(self) -> str:
        return next(self._revisions)


def _docker(place: Place, fault: Fault) -> Point:
    what = {"kill": "killed", "cut": "connection cut", "500": "error", "delay": "delay"}[fault.kind]
    return Point(
        f"{what} {'after' if fault.done else 'at'} {place.kind}, {place.number}",
        lambda campaign: campaign.between.arm(place, fault),
    )
