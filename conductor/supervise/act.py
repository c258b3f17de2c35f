"""One corrective action on one service, under its lock, which is given up to whoever waits for it.

Given up is left as it is: the journal says what was begun, and the next holder of the lock finishes or undoes it.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence

import msgspec

from conductor.caller import who
from conductor.change.actions import Now, restart
from conductor.change.cleanup import reap
from conductor.change.context import Context
from conductor.change.recover import settle
from conductor.change.runbook import run
from conductor.clock import Clock
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.definitions.unsupported import refuse_unsupported
from conductor.errors import BusyError, ConductorError, LockYielded
from conductor.plan.reconcile import Action, Apply, Correct, Decision, Observation, Point, Revive, Settle, reason
from conductor.plan.transition import Transition, correct, live_release
from conductor.plan.values import Container, Cutover
from conductor.traffic.nginx import NginxNotRunning, NginxRefuses
from conductor.traffic.render import Route

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
        """Raise `LockYielded`, wherever an interrupted change would be undone, and while it drains."""
        now = self.monotonic()
        if now - self._looked >= LOOK_SECONDS and not self.is_shielded:
            self._looked = now
            if self._wanted():
                raise LockYielded
        super().check()


def act(
    context: Context,
    service: str,
    decided: Action,
    observation: Observation,
    change: str,
    *,
    begins: Callable[[], None],
) -> bool:
    """Do it, if all is still as it was seen; whether it was done. Raises what keeps it from being done. `begins` is called
    before anything is."""
    if isinstance(decided, Settle):
        return _settle(context, service, begins)
    if context.locks.wanted(service):
        return False  # whoever waits goes first
    with context.locks.hold(service):
        wanted = observation.wanted
        if context.store.wanted(service) != wanted or context.store.journal(service) is not None:
            return False  # somebody was faster
        mine = tuple(c for c in context.runtime.containers(service) if c.kind == "service")
        if not _as_seen(mine, observation, decided):
            return False
        definition = restore(service, live_release(wanted).definition)
        begins()
        if isinstance(decided, Revive | Point):
            context.store.record(
                {
                    "at": context.clock.now(), "who": who(), "command": context.command, "service": service,
                    "action": "start again" if isinstance(decided, Revive) else "point", "outcome": "begun",
                    "reason": reason(decided),
                }
            )  # fmt: skip
        if isinstance(decided, Revive):
            _revive(context, decided.containers)
        elif isinstance(decided, Apply):
            now = Now(wanted=wanted, containers=mine, defined=decided.definition, change=change)
            _apply(context, decided.definition, now)
        elif isinstance(decided, Point):
            _point(context, definition, decided.addresses)
        else:
            keep = {c.id for c in decided.keep}
            transition = correct(wanted, definition, mine, keep=keep, count=decided.count, change=change)
            _correct(context, msgspec.structs.replace(transition, why=decided.why), decided.serving, change)
    return True


def reap_tasks(context: Context, service: str) -> None:
    """Remove what `conductor run` has left behind; another time, when somebody works on the service."""
    with contextlib.suppress(BusyError), context.locks.hold(service):
        reap(context, service)


def load_files(context: Context) -> None:
    """Let nginx load what is on disk, if it has not: whoever was killed between writing and reloading has left that."""
    with contextlib.suppress(NginxNotRunning):  # it will, when it starts
        context.traffic.switch((), lambda _cutover: None, force=False)


def _as_seen(mine: Sequence[Container], observation: Observation, decided: Decision) -> bool:
    """The same containers, and those that stay are still there; what died may seem to, as the daemon's list is late."""
    keep = {c.id for c in decided.keep} if isinstance(decided, Correct) else set()
    same = {c.id for c in mine} == {one.container.id for one in observation.seen}
    return same and keep <= {c.id for c in mine if c.state in {"running", "paused"}}


def _settle(context: Context, service: str, begins: Callable[[], None]) -> bool:
    """Under the locks of all that moved together, in their order: of several that find it, the first one settles it."""
    journal = context.store.journal(service)
    if journal is None or any(context.locks.wanted(one) for one in journal.group):
        return False
    for one in journal.group:
        held = context.store.wanted(one).paused
        if held is not None and not held.is_over(context.clock.now()):
            raise ConductorError(
                f"a change of {', '.join(journal.group)} died, and {one} is paused: left alone until it is resumed "
                f"(conductor supervise resume --id {one})"
            )
    with contextlib.ExitStack() as locks:
        for one in sorted({service, *journal.group}):
            locks.enter_context(context.locks.hold(one))
        begins()
        settle(context, service)
    return True


def _revive(context: Context, containers: Sequence[Container]) -> None:
    """One after the other: several services at once are already as many as may start. One that cannot keeps no other one
    from it."""
    failed: list[ConductorError] = []
    for container in containers:
        context.clock.check()
        try:
            _start_again(context, container)
        except ConductorError as error:
            failed.append(error)
    if failed:
        raise failed[0]


def _start_again(context: Context, container: Container) -> None:
    context.runtime.start(container.id)
    state = context.runtime.inspect(container.id)
    if state is not None and state.running and state.address != container.address:
        raise ConductorError(f"cannot use {container.name}: it has address {state.address}, not {container.address}")


def _point(context: Context, definition: Definition, addresses: tuple[str, ...]) -> None:
    context.traffic.switch((Route(definition, addresses),), lambda _cutover: None, force=False)


def _apply(context: Context, definition: Definition, now: Now) -> None:
    """As `service restart` does."""
    refuse_unsupported(context.host, definition)
    transition = msgspec.structs.replace(restart(definition)(context, now), why="the definition has changed")
    run(context, [transition], now.change, context.clock.monotonic())


def _correct(context: Context, transition: Transition, serving: tuple[str, ...], change: str) -> None:
    """Bad ones leave nginx while their replacements start: neither waits for the other."""

    def unless_late(_: Cutover) -> None:
        """Called under the nginx lock: what the change itself has told nginx since is not taken back."""
        journal = context.store.journal(transition.definition.id)
        reached = journal is not None and journal.change == change and journal.cutover is not None
        if reached or context.store.wanted(transition.definition.id).change == change:
            raise LockYielded

    def point() -> None:
        try:
            context.traffic.switch((Route(transition.definition, serving),), unless_late, force=False)
        except (ConductorError, LockYielded):
            return  # the cutover that follows says it, or mends it

    pointing = threading.Thread(target=point)
    ahead = bool(serving) and transition.added > 0  # else the cutover comes at once
    if ahead:
        pointing.start()
    try:
        finished = run(context, [transition], change, context.clock.monotonic())
    except (NginxNotRunning, NginxRefuses):
        # It cannot be told of others: where it sends requests to, somebody should be.
        served = context.traffic.served(transition.definition.id)
        _revive(context, [c for c in transition.gone if not c.running and c.address in served])
        raise
    finally:
        if ahead:
            pointing.join()
    if finished.exit_code:  # something has to be removed by hand
        raise ConductorError(finished.text)
