"""The journal of one service: its change in progress, written before every step (pure)."""

from typing import Literal

import msgspec

from conductor.plan.release import Release, Wanted
from conductor.plan.replica import Replica
from conductor.plan.route import Cutover

ChangeAction = Literal["upgrade", "rollback", "restart", "start", "stop", "scale", "repair"]
StepName = Literal[
    "generate", "hook", "start", "gate", "replace", "cutover", "commit", "drain", "retire", "crontab", "history"
]


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """One service change in progress: first the intent, then each step before it begins.

    `old` is the wanted state before, `new` is what the commit writes. `services` are the ids that change together.
    `before` are the replicas that existed, `keep` the ids of those that stay, `reserved` the addresses of new ones. `unfit`
    are the ids of those that get no traffic while others do.
    `old_stopped`: old replicas were stopped before new ones started (`order: stop-first`). `cutover` is None until the
    traffic layer is about to change. `reason` is why `supervise` made the change.
    """

    change: str
    service: str
    action: ChangeAction
    command: str
    who: str
    began: str
    old: Wanted
    new: Wanted
    version: int = 1
    services: tuple[str, ...] = ()
    before: tuple[Replica, ...] = ()
    keep: tuple[str, ...] = ()
    unfit: frozenset[str] = frozenset()
    reserved: tuple[str, ...] = ()
    old_stopped: bool = False
    cutover: Cutover | None = None
    steps: dict[StepName, float] = {}
    reason: str = ""

    @property
    def release(self) -> Release:
        """The release of new replicas."""
        return self.new.live

    @property
    def new_endpoints(self) -> tuple[str, ...]:
        """Endpoints of the replicas that this change starts."""
        return tuple(address for address in self.reserved if ":" in address)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Endpoints of the service once the change is done. When all replicas are unfit, they keep the traffic."""
        kept = {one.id: one.endpoint for one in self.before if one.id in self.keep and one.endpoint}
        fit = (endpoint for replica, endpoint in kept.items() if replica not in self.unfit)
        return (*fit, *self.new_endpoints) or tuple(kept.values())

    @property
    def old_endpoints(self) -> tuple[str, ...]:
        """Endpoints of running replicas that leave."""
        gone = (one.endpoint for one in self.before if one.running and one.id not in self.keep)
        return tuple(endpoint for endpoint in gone if endpoint)

    @property
    def count(self) -> int:
        """The number of replicas once the change is done."""
        return len(self.keep) + len(self.reserved)
