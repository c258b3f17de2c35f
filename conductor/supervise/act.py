"""One corrective action on one service, under its lock, which is given up to whoever waits for it.

Given up is left as it is: the journal says what was begun, and the next holder of the lock finishes or undoes it.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence

import msgspec

from conductor.caller import who
from conductor.change.doors import Doors
from conductor.change.reap import reap
from conductor.change.run import run
from conductor.change.settle import settle
from conductor.change.verbs import Now, restart
from conductor.clock import Clock
from conductor.definitions.later import refuse_unsupported
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.errors import BusyError, ConductorError, GivenUp
from conductor.plan.moves import Move, correct, live_release
from conductor.plan.supervision import Action, Apply, Correct, Decision, Point, Revive, Settle, Situation, reason
from conductor.plan.values import Container, Cutover
from conductor.proxy.nginx import NginxNotRunning, NginxRefuses
from conductor.proxy.render import Site

LOOK_SECONDS = 0.2  # how often it is looked whether somebody waits


class YieldingClock(Clock):
    """A clock whose waits end when somebody wants the lock, or when `supervise` ends."""

    def __init__(self, wanted: Callable[[], bool]) -> None:
        super().__init__()
        self._wanted = wanted
        self._looked = 0.0

    def finishing(self) -> None:
        """Committed: what is left is finished by the next holder, should this one be asked to go."""

    def check(self) -> None:
        """Raise `GivenUp`, wherever an interrupted change would be undone, and while it drains."""
        now = self.monotonic()
        if now - self._looked >= LOOK_SECONDS and not self.is_shielded:
            self._looked = now
            if self._wanted():
                raise GivenUp
        super().check()


def act(
    doors: Doors, service: str, decided: Action, situation: Situation, change: str, *, begins: Callable[[], None]
) -> bool:
    """Do it, if all is still as it was seen; whether it was done. Raises what keeps it from being done. `begins` is called
    before anything is."""
    if isinstance(decided, Settle):
        return _settle(doors, service, begins)
    if doors.locks.wanted(service):
        return False  # whoever waits goes first
    with doors.locks.hold(service):
        wanted = situation.wanted
        if doors.store.wanted(service) != wanted or doors.store.journal(service) is not None:
            return False  # somebody was faster
        mine = tuple(c for c in doors.engine.containers(service) if c.kind == "service")
        if not _as_seen(mine, situation, decided):
            return False
        definition = restore(service, live_release(wanted).definition)
        begins()
        if isinstance(decided, Revive | Point):
            doors.store.record(
                {
                    "at": doors.clock.now(), "who": who(), "command": doors.command, "service": service,
                    "action": "start again" if isinstance(decided, Revive) else "point", "outcome": "begun",
                    "reason": reason(decided),
                }
            )  # fmt: skip
        if isinstance(decided, Revive):
            _revive(doors, decided.containers)
        elif isinstance(decided, Apply):
            now = Now(wanted=wanted, containers=mine, defined=decided.definition, change=change)
            _apply(doors, decided.definition, now)
        elif isinstance(decided, Point):
            _point(doors, definition, decided.addresses)
        else:
            keep = {c.id for c in decided.keep}
            move = correct(wanted, definition, mine, keep=keep, count=decided.count, change=change)
            _correct(doors, msgspec.structs.replace(move, why=decided.why), decided.serving, change)
    return True


def reap_tasks(doors: Doors, service: str) -> None:
    """Remove what `conductor run` has left behind; another time, when somebody works on the service."""
    with contextlib.suppress(BusyError), doors.locks.hold(service):
        reap(doors, service)


def load_files(doors: Doors) -> None:
    """Let nginx load what is on disk, if it has not: whoever was killed between writing and reloading has left that."""
    with contextlib.suppress(NginxNotRunning):  # it will, when it starts
        doors.proxy.switch((), lambda _cutover: None, force=False)


def _as_seen(mine: Sequence[Container], situation: Situation, decided: Decision) -> bool:
    """The same containers, and those that stay are still there; what died may seem to, as the daemon's list is late."""
    keep = {c.id for c in decided.keep} if isinstance(decided, Correct) else set()
    same = {c.id for c in mine} == {one.container.id for one in situation.seen}
    return same and keep <= {c.id for c in mine if c.state in {"running", "paused"}}


def _settle(doors: Doors, service: str, begins: Callable[[], None]) -> bool:
    """Under the locks of all that moved together, in their order: of several that find it, the first one settles it."""
    journal = doors.store.journal(service)
    if journal is None or any(doors.locks.wanted(one) for one in journal.group):
        return False
    for one in journal.group:
        held = doors.store.wanted(one).paused
        if held is not None and not held.is_over(doors.clock.now()):
            raise ConductorError(
                f"a change of {', '.join(journal.group)} died, and {one} is paused: left alone until it is resumed "
                f"(conductor supervise resume --id {one})"
            )
    with contextlib.ExitStack() as locks:
        for one in sorted({service, *journal.group}):
            locks.enter_context(doors.locks.hold(one))
        begins()
        settle(doors, service)
    return True


def _revive(doors: Doors, containers: Sequence[Container]) -> None:
    """One after the other: several services at once are already as many as may start. One that cannot keeps no other one
    from it."""
    failed: list[ConductorError] = []
    for container in containers:
        doors.clock.check()
        try:
            _start_again(doors, container)
        except ConductorError as error:
            failed.append(error)
    if failed:
        raise failed[0]


def _start_again(doors: Doors, container: Container) -> None:
    doors.engine.start(container.id)
    state = doors.engine.inspect(container.id)
    if state is not None and state.running and state.address != container.address:
        raise ConductorError(f"cannot use {container.name}: it has address {state.address}, not {container.address}")


def _point(doors: Doors, definition: Definition, addresses: tuple[str, ...]) -> None:
    doors.proxy.switch((Site(definition, addresses),), lambda _cutover: None, force=False)


def _apply(doors: Doors, definition: Definition, now: Now) -> None:
    """As `service restart` does."""
    refuse_unsupported(doors.host, definition)
    move = msgspec.structs.replace(restart(definition)(doors, now), why="the definition has changed")
    run(doors, [move], now.change, doors.clock.monotonic())


def _correct(doors: Doors, move: Move, serving: tuple[str, ...], change: str) -> None:
    """Bad ones leave nginx while their replacements start: neither waits for the other."""

    def unless_late(_: Cutover) -> None:
        """Called under the nginx lock: what the change itself has told nginx since is not taken back."""
        journal = doors.store.journal(move.definition.id)
        reached = journal is not None and journal.change == change and journal.cutover is not None
        if reached or doors.store.wanted(move.definition.id).change == change:
            raise GivenUp

    def point() -> None:
        try:
            doors.proxy.switch((Site(move.definition, serving),), unless_late, force=False)
        except (ConductorError, GivenUp):
            return  # the cutover that follows says it, or mends it

    pointing = threading.Thread(target=point)
    ahead = bool(serving) and move.added > 0  # else the cutover comes at once
    if ahead:
        pointing.start()
    try:
        finished = run(doors, [move], change, doors.clock.monotonic())
    except (NginxNotRunning, NginxRefuses):
        # It cannot be told of others: where it sends requests to, somebody should be.
        served = doors.proxy.served(move.definition.id)
        _revive(doors, [c for c in move.gone if not c.running and c.address in served])
        raise
    finally:
        if ahead:
            pointing.join()
    if finished.exit_code:  # something has to be removed by hand
        raise ConductorError(finished.text)
