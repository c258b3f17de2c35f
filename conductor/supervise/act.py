"""One corrective action on one service, under its lock, which is given up to whoever waits for it.

Given up is left as it is: the journal says what was begun, and the next holder of the lock finishes or undoes it.
"""

import threading
from collections.abc import Callable, Sequence

from conductor.change.doors import Doors
from conductor.change.run import run
from conductor.change.settle import settle
from conductor.clock import Clock
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError, GivenUp
from conductor.plan.moves import correct, live_release
from conductor.plan.supervision import Correct, Point, Revive, Settle
from conductor.plan.values import Wanted
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


def act(doors: Doors, service: str, decided: Settle | Revive | Point | Correct, wanted: Wanted, change: str) -> None:
    """Do it, if it is still what is wanted; raise what keeps it from being done."""
    with doors.locks.hold(service):
        if isinstance(decided, Settle):
            settle(doors, service)
            return
        if doors.store.wanted(service) != wanted or doors.store.journal(service) is not None:
            return  # somebody was faster
        definition = restore(service, live_release(wanted).definition)
        if isinstance(decided, Revive):
            _revive(doors, [c.id for c in decided.containers])
        elif isinstance(decided, Point):
            _point(doors, definition, decided.addresses)
        else:
            _correct(doors, definition, decided, wanted, change)


def _revive(doors: Doors, containers: Sequence[str]) -> None:
    """One after the other: several services at once are already as many as may start."""
    for container in containers:
        doors.engine.start(container)


def _point(doors: Doors, definition: Definition, addresses: tuple[str, ...]) -> None:
    doors.proxy.switch((Site(definition, addresses),), lambda _cutover: None, force=False)


def _correct(doors: Doors, definition: Definition, decided: Correct, wanted: Wanted, change: str) -> None:
    """Bad ones leave nginx while their replacements start: neither waits for the other."""

    def point() -> None:
        try:
            _point(doors, definition, decided.serving)
        except (ConductorError, GivenUp):
            return  # the cutover that follows says it, or mends it

    pointing = threading.Thread(target=point)
    if decided.serving:
        pointing.start()
    try:
        containers = doors.engine.containers(definition.id)
        keep = {c.id for c in containers if c.running} & {c.id for c in decided.keep}
        move = correct(wanted, definition, containers, keep=keep, count=decided.count, change=change)
        run(doors, [move], change, doors.clock.monotonic())
    finally:
        if decided.serving:
            pointing.join()
