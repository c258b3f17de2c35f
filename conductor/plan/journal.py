"""The journal of one service: its change in progress, written before every step (pure)."""

from collections.abc import Collection, Iterable
from typing import Literal

import msgspec

from conductor.plan.release import Release, Wanted
from conductor.plan.replica import Replica
from conductor.plan.route import Cutover

ChangeAction = Literal[
    "upgrade", "rollback", "restart", "start", "stop", "scale", "repair", "maintenance-on", "maintenance-off"
]
MAINTENANCE: Collection[ChangeAction] = {"maintenance-on", "maintenance-off"}  # these start and remove no replica
SWITCHES: Collection[ChangeAction] = {"upgrade", "rollback"}  # these lead to another revision
StepName = Literal[
    "generate",
    "hook",
    "start",
    "gate",
    "replace",
    "canary",
    "cutover",
    "commit",
    "drain",
    "retire",
    "crontab",
    "history",
]


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """One service change in progress: first the intent, then each step before it begins.

    `old` is the wanted state before, `new` is what the commit writes. `services` are the ids that change together.
    `before` are the replicas that existed, `keep` the ids of those that stay, `reserved` the addresses of new ones. `unfit`
    are the ids of those that get no traffic while others do.
    `old_stopped`: old replicas were stopped before new ones started (`order: stop-first`). `canary` is None until new
    replicas are about to get a share of the requests, `cutover` until they are about to get all. `plan` are all steps of the
    change, `steps` the durations of those that have ended. `reason` is why `supervise` made the change.
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
    canary: Cutover | None = None
    cutover: Cutover | None = None
    plan: tuple[StepName, ...] = ()
    steps: dict[StepName, float] = {}
    reason: str = ""

    @property
    def release(self) -> Release:
        """The release of new replicas."""
        return self.new.live

    @property
    def new_endpoints(self) -> tuple[str, ...]:
        """Endpoints of the replicas that this change starts."""
        return tuple(address for address in self.reserved if ":" in address[1:])

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
    def drained_endpoints(self) -> tuple[str, ...]:
        """Endpoints that get no more requests: those of replicas that leave, and all when a maintenance begins."""
        return (*self.old_endpoints, *self.endpoints) if self.action == "maintenance-on" else self.old_endpoints

    @property
    def count(self) -> int:
        """The number of replicas once the change is done."""
        return len(self.keep) + len(self.reserved)


def noun(action: ChangeAction, services: Iterable[str] = ()) -> str:
    """Return the action as a noun, with the services that it changes: `upgrade of web`."""
    nouns = {"scale": "scaling", "maintenance-on": "start of maintenance", "maintenance-off": "end of maintenance"}
    found, ids = nouns.get(action, action), ", ".join(services)
    return f"{found} {'for' if action in MAINTENANCE else 'of'} {ids}" if ids else found


def to_revision(action: ChangeAction, revision: str) -> str:
    """Return ` to REVISION` for a sentence about a change that leads to another revision; an empty text for any other."""
    return f" to {revision}" if action in SWITCHES else ""
