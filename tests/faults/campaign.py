"""Kills and faults at every point of an action: which points there are, what is done at each, and what must be true after it.

A point is the n-th request of a kind to Docker, the n-th run of nginx, or the n-th call of a system call. Nothing inside the product takes
part: a proxy stands before Docker's socket, a script before nginx's binary, and strace injects the signal.
"""

import contextlib
import re
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle

from conductor.plan.history import FINISHED
from tests.faults.clients import ClientsOf
from tests.faults.scenarios import WEB, Scenario, upgrade_of
from tests.support.aftermath import OPERATORS_FILE, held_locks, nothing_left_behind
from tests.support.commands import Result
from tests.support.daemon_between import DaemonBetween, Fault, Place, places
from tests.support.host import TestHost
from tests.support.images import REVISIONS

HEALED_SECONDS = 60.0  # of passes: attempts at a repair have delays between them
OPERATORS_TEXT = "# written by an operator\n"
COMMAND_SECONDS = 300.0  # a request to Docker that is never answered takes 60 s
SPACING_SECONDS = 5.0  # from the start of a replica to a repair
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


@dataclass(frozen=True)
class Point:
    """One place of an action, and one fault there."""

    place: str
    fault: str
    arm: Callable[["Campaign"], None]
    strace: tuple[str, ...] = ()


@dataclass
class Tally:
    """What a campaign has tried. `reached` counts faults that were applied, `missed` are the places of the others, `failures`
    are those that were not survived, `after` counts the exit codes of the action."""

    places: set[str] = field(default_factory=set)
    tried: int = 0
    reached: int = 0
    missed: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    after: Counter[str] = field(default_factory=Counter)


class Campaign:
    """One scenario on one host. Used as a context manager."""

    def __init__(self, scenario: Scenario, cutover: str) -> None:
        self.scenario = scenario
        self._cutover = cutover
        self._operators_files = (OPERATORS_FILE, *([f"{scenario.taken}.conf"] if scenario.taken else []))
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
        taken = self.scenario.taken
        self.host.define(
            {**self.scenario.services, **({taken: WEB} if taken else {})},
            host_extra={"docker": self.between.url, "nginx": {"binary": str(binary)}},
        )
        for name in self._operators_files:
            (self.host.nginx.include_dir / name).write_text(OPERATORS_TEXT)
        self.command(self._upgrade()).expect(0)
        self.command(self._upgrade()).expect(0)
        if taken:
            self.command(upgrade_of(taken)(next(self._revisions)), check=False).expect(1)
            assert self._operators_texts() == {OPERATORS_TEXT}
        self._files = self.nginx_files()
        is_routed = "web" in self.scenario.ids and not self.scenario.repairs  # one begins with a replica that is gone
        self.clients = ClientsOf(self.host if is_routed else None)
        return self

    def __exit__(self, *_: object) -> None:
        self.clients.end("after the last point")
        self._stack.close()

    # Points.

    def kills(self) -> Iterator[Point]:
        """Yield a kill before and after each request to Docker and each run of nginx, and at each rename, fsync,
        unlink and kill."""
        words = self.action()
        self.between.arm()
        self.reset_nginx()
        self.command(words).expect(0)
        calls, runs = list(self.between.calls), int((self._wrapped / "runs").read_text())
        self.between.disarm()
        self.reset()
        for call, place in zip(calls, places(calls), strict=True):
            for done in (False,) if STREAMS.search(call) else (False, True):
                yield _docker(place, Fault("kill", done))
        for number in range(1, runs + 1):
            for when in ("before", "after"):
                yield Point(
                    f"run {number} of nginx", f"killed {when}",
                    lambda campaign, number=number, when=when: campaign.reset_nginx(f"{number} {when}"),  # type: ignore[misc]
                )  # fmt: skip
        yield from self._at_system_calls(WRITES + ENDS, {"killed": "signal=SIGKILL"})

    def daemon_faults(self) -> Iterator[Point]:
        """Yield an error, a lost connection, half an answer and a delay at each request to Docker."""
        yield from self._at_requests(
            Fault("500"), Fault("500", done=True), Fault("cut"), Fault("cut", done=True), Fault("truncate", done=True),
            Fault("delay"),
        )  # fmt: skip

    def hangs(self) -> Iterator[Point]:
        """Yield a request that is never answered, for each request to Docker."""
        yield from self._at_requests(Fault("hang"))

    def _at_requests(self, *faults: Fault) -> Iterator[Point]:
        words = self.action()
        self.between.arm()
        self.command(words).expect(0)
        calls = list(self.between.calls)
        self.between.disarm()
        self.reset()
        for call, place in zip(calls, places(calls), strict=True):
            for fault in faults:
                if not (fault.done and STREAMS.search(call)):
                    yield _docker(place, fault)

    def disk_faults(self) -> Iterator[Point]:
        """Yield an error of the disk, and a full disk, at each rename and fsync; and an error at each write."""
        yield from self._at_system_calls(WRITES, {"an error of the disk": "error=EIO", "a full disk": "error=ENOSPC"})
        yield from self._at_system_calls(("write",), {"an error of the disk": "error=EIO"})

    def _at_system_calls(self, names: tuple[str, ...], injections: Mapping[str, str]) -> Iterator[Point]:
        counts = self._counts(names)
        for what, injection in injections.items():
            for name in names:
                for number in range(1, counts[name] + 1):
                    words = ("-e", f"trace={name}", "-e", f"inject={name}:{injection}:when={number}")
                    yield Point(f"{name} {number}", what, lambda _: None, words)

    def _counts(self, names: tuple[str, ...]) -> Counter[str]:
        """Return how many of these calls the action makes, in the thread that renames the most files."""
        calls = re.findall(r"^(\d+) +(\w+)\(", self.traced(tuple({"rename", *names})), re.MULTILINE)
        self.reset()
        (writer, _), *_ = Counter(pid for pid, name in calls if name == "rename").most_common()
        return Counter(name for pid, name in calls if pid == writer)

    def traced(self, names: tuple[str, ...]) -> str:
        """Run the action; return strace's lines of these calls, with the paths of open files."""
        self.command(self.action(), ("-y", "-e", f"trace={','.join(names)}")).expect(0)
        return self._trace.read_text()

    # What is done at each.

    def try_point(self, point: Point, *, kills: bool) -> None:
        """Run the action with the fault, recover in one of the ways, in turns, and check what is left."""
        ways = (self._next_upgrade, self._next_pass, self._reboot) if kills else (self._next_upgrade, self._next_passes)
        recover = ways[self.tally.tried % len(ways)]
        self.tally.tried += 1
        self.tally.places.add(point.place)
        live, seen = self._live_revisions(), len(self.host.history())
        words = self.action()
        point.arm(self)
        result = self.command(words, point.strace, check=False)
        injected = point.strace and re.search(r"\(INJECTED\)|killed by SIGKILL", self._trace.read_text())
        if self.between.disarm() or result.code == -9 or injected:
            self.tally.reached += 1
        else:
            self.tally.missed.append(point.place)
        self.reset_nginx()
        what = f"{point.fault} at {point.place}, then {recover.__name__}"
        try:
            recover()
            self._check_history(live, seen)
        except (AssertionError, OSError, RuntimeError):
            self.tally.failures.append(f"{what}: {traceback.format_exc()}\n{result}")
            self.reset()
            self.clients.begin()
        self.tally.after[f"exit code {result.code}"] += 1
        self.clients.count(f"{what}\n{result}")

    def _next_upgrade(self) -> None:
        self.command(self._upgrade())
        self._check(unfinished=self.scenario.repairs)  # the status file of `supervise`

    def _next_pass(self) -> None:
        if self.scenario.repairs:  # an attempt has failed
            self._next_passes()
        else:
            self.command(("supervise", "--once"))
            self._check(unfinished=True)

    def _reboot(self) -> None:
        """All processes end and /run is empty, but for the directories that systemd-tmpfiles makes. nginx starts, then `supervise`."""
        self.clients.end("before a reboot")
        self.host.nginx.stop()
        for container in self.host.containers():
            if container.state == "running":
                self.host.kill(container.id)
        for path in self.host.runtime_dir.rglob("*"):
            if not path.is_dir():
                path.unlink()
        self.host.nginx.start()
        self._next_passes()
        self.clients.begin()

    def _next_passes(self) -> None:
        """Run passes until everything is repaired: attempts have delays between them."""
        until = time.monotonic() + HEALED_SECONDS
        while True:
            self.command(("supervise", "--once"), check=False)
            try:
                return self._check(unfinished=True)
            except AssertionError:
                if time.monotonic() > until:
                    raise

    # Checks.

    def _live_revisions(self) -> dict[str, str]:
        """Return the live revision of each service."""
        found = {}
        for service in self.scenario.ids:
            wanted = self.host.wanted(service)
            assert wanted is not None
            found[service] = wanted["release"]["revision"]
        return found

    def _check_history(self, before: Mapping[str, str], seen: int) -> None:
        """Check that the entries after the first `seen` lead from the live revisions `before` to those of now, each change once."""
        entries = [one for one in self.host.history()[seen:] if one.get("change")]
        for service, revision in self._live_revisions().items():
            found, own = before[service], [one for one in entries if one["service"] == service]
            for entry in own:
                assert entry["from"] == found, own
                found = entry["to"] if entry["outcome"] in FINISHED else found
            assert found == revision, own
            assert len({one["change"] for one in own}) == len(own), own

    def _check(self, *, unfinished: bool) -> None:
        """Check that one release of all services serves, with the right count, and that nothing of the change is left."""
        revisions = self._live_revisions()
        for service, revision in revisions.items():
            running = len([c for c in self.host.containers(service) if c.state == "running"])
            allowed = self.scenario.counts if service == "web" else (1,)
            assert running in allowed, f"{running} replicas of {service}"
            nothing_left_behind(self.host, revision, service, count=running, unfinished=unfinished)
        assert len({*revisions.values()}) == 1, f"releases of different revisions: {revisions}"
        assert self.nginx_files() == self._files, f"{self.nginx_files()} instead of {self._files}"
        assert self._operators_texts() == {OPERATORS_TEXT}
        assert held_locks(self.host) == []
        assert len(self.host.daemon.networks()) == 1

    # Commands.

    def command(self, words: tuple[str, ...], strace: tuple[str, ...] = (), *, check: bool = True) -> Result:
        """Run `conductor`, under strace when it gets arguments."""
        if not strace:
            return self.host.conductor(*words, check=check, timeout=COMMAND_SECONDS)
        done = subprocess.run(
            ["strace", "-f", "-o", self._trace, *strace, sys.executable, "-m", "conductor", *words],
            env=self.host.environment(), cwd=self.host.directory, capture_output=True, text=True,
            timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        return Result(words, done.returncode, done.stdout, done.stderr, 0.0)

    def action(self) -> tuple[str, ...]:
        """Return the words of the action, with a revision that does not run now. Make what a repair repairs."""
        if self.scenario.repairs:
            self.host.daemon.api.remove_container(self.host.containers("web")[0].id, force=True)
            time.sleep(SPACING_SECONDS)
        if self.scenario.needs_earlier:
            self.command(self._upgrade())
        if len(self.scenario.counts) > 1:  # else the action has nothing to do after a finished one
            self.command(("service", "scale", "--id", "web", "--reset"))
        return self.scenario.action(next(self._revisions))

    def reset(self) -> None:
        """Make a clean state for the next point."""
        self.command(self._upgrade()).expect(0)
        if "web" in self.scenario.ids:
            self.command(("service", "scale", "--id", "web", "--reset")).expect(0)

    def reset_nginx(self, kill: str = "never") -> None:
        """Count the runs of nginx from 0, and kill at one of them."""
        (self._wrapped / "runs").write_text("0\n")
        (self._wrapped / "kill").write_text(f"{kill}\n")

    def _operators_texts(self) -> set[str]:
        """Return the texts of the files that an operator wrote, one of them under the name that Conductor would use."""
        return {(self.host.nginx.include_dir / name).read_text() for name in self._operators_files}

    def nginx_files(self) -> set[str]:
        return {path.name for path in self.host.nginx.include_dir.iterdir()}

    def _upgrade(self) -> tuple[str, ...]:
        return upgrade_of(*self.scenario.ids)(next(self._revisions))


NAMES = {
    "kill": "killed", "cut": "connection cut", "500": "error", "delay": "delay", "truncate": "half an answer", "hang": "no answer",
}  # fmt: skip


def _docker(place: Place, fault: Fault) -> Point:
    return Point(
        f"{place.kind}, {place.number}",
        NAMES[fault.kind] + (" after it was done" if fault.done else ""),
        lambda campaign: campaign.between.arm(place, fault),
    )
