"""The transition that each command makes of one service: which replicas stay, how many are added, what is committed (pure).

Every command is a transition, carried out by the same steps (`steps.py`) with the same gate, cutover, drain and rollback.
"""

from collections.abc import Collection
from enum import StrEnum

import msgspec

from conductor.definitions.model import Canary, Definition, Hook
from conductor.errors import ConductorError
from conductor.plan.journal import MAINTENANCE, ChangeAction
from conductor.plan.release import Hold, Release, Wanted
from conductor.plan.replica import Replica
from conductor.times import time_text

REPLACES: Collection[ChangeAction] = {"upgrade", "rollback", "restart"}
KEEPS_CRONTAB: Collection[ChangeAction] = {"scale", "repair", *MAINTENANCE}


class Drift(StrEnum):
    """What has changed since the release."""

    IMAGE = "image"  # its name; the revision is the release's
    DEFINITION = "definition"  # anything else in it
    ENVIRONMENT = "environment"  # the contents of secret and env files
    TEMPLATE = "template"


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One service from `old` to `new`. `definition` is that of the release, `count` the number of replicas in the end.

    The replicas in `keep` stay, those in `remove` leave. `unfit` are the ids of those that fail their check now: they get no
    traffic while others do. `reason` is that of an operator, or why `supervise` makes the change.
    """

    action: ChangeAction
    definition: Definition
    old: Wanted
    new: Wanted
    count: int
    keep: tuple[Replica, ...] = ()
    remove: tuple[Replica, ...] = ()
    unfit: frozenset[str] = frozenset()
    hook: Hook | None = None
    canary: Canary | None = None
    reason: str = ""

    @property
    def service(self) -> str:
        """The id of the service."""
        return self.definition.id

    @property
    def add(self) -> int:
        """The number of replicas to start."""
        return max(0, self.count - len(self.keep))

    @property
    def routed(self) -> bool:
        """True when the traffic layer serves the old or the new release."""
        return self.definition.service.nginx is not None or was_routed(self.old)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Endpoints of the replicas that stay and get requests: the fit ones; all when there is none."""
        kept = [one for one in self.keep if one.endpoint]
        return tuple(one.endpoint or "" for one in [one for one in kept if one.id not in self.unfit] or kept)

    @property
    def stop_first(self) -> bool:
        """True when old replicas must stop before new ones start, by the old or the new definition."""
        before = self.old.release.definition.get("order") if self.old.release else None
        return self.add > 0 and "stop-first" in {before, self.definition.service.order}

    @property
    def generate(self) -> tuple[str, ...]:
        """The command that prints the crontab. Empty for a rollback, whose release has its crontab."""
        cron = self.definition.service.cron
        return cron.generate if cron and self.action in {"upgrade", "restart"} else ()

    @property
    def installs_crontab(self) -> bool:
        """True when a crontab is installed or removed."""
        had = self.old.release is not None and self.old.release.crontab
        return self.action not in KEEPS_CRONTAB and bool(self.definition.service.cron or had)

    @property
    def changes_nothing(self) -> bool:
        """True when the service is as wanted already."""
        same = self.new == msgspec.structs.replace(self.old, change=self.new.change)
        return same and not self.add and not self.remove

    @property
    def runs_none(self) -> bool:
        """True when a command that should run the service runs no replica, because an operator scaled it to 0."""
        return self.action in {*REPLACES, "start"} and self.new.stopped is None and self.new.scale == 0

    @property
    def only_recorded(self) -> bool:
        """True when a stopped service stays stopped, and has no containers: no container and no route changes."""
        stays = self.old.stopped is not None and self.new.stopped is not None
        same_route = self.old.maintenance == self.new.maintenance
        return stays and same_route and not self.keep and not self.add and not self.remove


def stops_later(action: ChangeAction, old: Release | None) -> bool:
    """True when old replicas get their stop signal and the change does not wait for them (`stop: {wait: false}`)."""
    return action in REPLACES and old is not None and old.definition.get("stop", {}).get("wait") is False


def was_routed(wanted: Wanted) -> bool:
    """True when the live release is served through the traffic layer."""
    return wanted.release is not None and wanted.release.definition.get("nginx") is not None


def wanted_count(wanted: Wanted, definition: Definition) -> int:
    """Return 0 for a stopped service, else the count set by `scale`, else the definition's."""
    if wanted.stopped is not None:
        return 0
    return wanted.scale if wanted.scale is not None else definition.service.count


def drifted(wanted: Wanted, defined: Definition) -> bool:
    """True when the definition differs from the live release's. The count and `notify` follow the file and are no drift."""
    if wanted.release is None:
        return False
    follows_file = {"count": None, "notify": None}
    return {**wanted.release.definition, **follows_file} != {**defined.written, **follows_file}


def image_changed(release: Release, defined: Definition) -> bool:
    """True when the definition names another image than the release runs. Only an upgrade applies that: whether the new image
    has the revision is not known."""
    return release.image != f"{defined.service.image}:{release.revision}"


def new_release(definition: Definition, revision: str, image_id: str, change: str, *, digest: str = "") -> Release:
    """Return the release that `change` creates. `digest` is the image's name in its registry."""
    return Release(
        id=change,
        service=definition.id,
        revision=revision,
        image=f"{definition.service.image}:{revision}",
        image_id=image_id,
        image_digest=digest,
        digest=definition.digest,
        definition=definition.written,
    )


def rollback_target(wanted: Wanted, revision: str | None) -> Release:
    """Return the kept release of `revision`; without one, the release before the live one. A rollback that follows another
    goes further back."""
    live = wanted.live
    found = next(
        (one for one in wanted.kept if (one.revision == revision if revision else one.id not in wanted.rolled_back)),
        None,
    )
    if found:
        return found
    if revision == live.revision:
        raise ConductorError(
            f"cannot roll back {wanted.service}: {revision} is the live revision",
            f"conductor service restart --id {wanted.service}",
        )
    kept = ", ".join(one.revision for one in wanted.kept) or "none"
    missing = f"revision {revision} is not retained" if revision else f"no release before {live.revision} is retained"
    if revision is None and wanted.kept:
        later = f"conductor service rollback --id {wanted.service} --to {wanted.kept[0].revision}"
        hint = f"to return to a later release, run {later}"
    else:
        upgrade = f"conductor service upgrade --id {wanted.service} --revision {revision or 'REV'}"
        hint = f"to deploy {'it' if revision else 'an earlier revision'}, run {upgrade}"
    raise ConductorError(f"cannot roll back {wanted.service}: {missing}; retained revisions: {kept}", hint)


def after_rollback(new: Wanted, old: Wanted, target: Release) -> Wanted:
    """Return the wanted state `new` of a rollback to `target`. The release that it leaves is skipped by the next rollback, unless
    this one returns to a release that was left before."""
    left = () if target.id in old.rolled_back else (old.live.id,)
    return msgspec.structs.replace(new, rolled_back=(*new.rolled_back, *left))


def replace(
    action: ChangeAction,
    wanted: Wanted,
    definition: Definition,
    release: Release,
    replicas: Collection[Replica],
    *,
    keep_releases: int,
    hook: Hook | None = None,
    count_from: Definition | None = None,
) -> Transition:
    """Upgrade, rollback and restart: every replica is new, and a stopped service starts.

    `count_from` is the definition whose count applies, when it is not `definition`.
    """
    new = msgspec.structs.replace(
        wanted.with_release(release, keep_releases), change=release.id, stopped=None,
        maintenance=wanted.maintenance if definition.service.nginx else None,
    )  # fmt: skip
    return Transition(
        action=action,
        definition=definition,
        old=wanted,
        new=new,
        count=wanted_count(new, count_from or definition),
        remove=tuple(replicas),
        hook=hook,
    )


def resize(
    action: ChangeAction,
    wanted: Wanted,
    new: Wanted,
    definition: Definition,
    replicas: Collection[Replica],
    *,
    count_from: Definition | None = None,
    unfit: frozenset[str] = frozenset(),
) -> Transition:
    """Start, stop and scale: replicas of the live release stay, as many as are wanted. Unfit ones leave first."""
    live = wanted.live
    count = wanted_count(new, count_from or definition)
    running = [one for one in replicas if one.running and one.release == live.id]
    keep = sorted(running, key=lambda one: one.id in unfit)[:count]
    transition = _keeping(action, wanted, new, definition, replicas, keep={one.id for one in keep}, count=count)
    return msgspec.structs.replace(transition, unfit=unfit)


def maintain(
    action: ChangeAction,
    wanted: Wanted,
    new: Wanted,
    definition: Definition,
    replicas: Collection[Replica],
    *,
    unfit: frozenset[str],
) -> Transition:
    """Begin or end a maintenance: no replica starts or leaves. In the end, requests go to those of the live release."""
    live = tuple(one for one in replicas if one.running and one.release == wanted.live.id)
    reason = new.maintenance.reason if new.maintenance else ""
    return Transition(
        action=action,
        definition=definition,
        old=wanted,
        new=new,
        count=len(live),
        keep=live,
        unfit=unfit,
        reason=reason,
    )


def repair(
    wanted: Wanted,
    definition: Definition,
    replicas: Collection[Replica],
    *,
    keep: Collection[str],
    count: int,
    change: str,
    reason: str,
) -> Transition:
    """`supervise`: the live release at `count` replicas, of which those with the ids in `keep` stay."""
    new = msgspec.structs.replace(wanted, change=change)
    transition = _keeping("repair", wanted, new, definition, replicas, keep=keep, count=count)
    return msgspec.structs.replace(transition, reason=reason)


def _keeping(
    action: ChangeAction,
    wanted: Wanted,
    new: Wanted,
    definition: Definition,
    replicas: Collection[Replica],
    *,
    keep: Collection[str],
    count: int,
) -> Transition:
    return Transition(
        action=action,
        definition=definition,
        old=wanted,
        new=new,
        count=count,
        keep=tuple(one for one in replicas if one.id in keep),
        remove=tuple(one for one in replicas if one.id not in keep),
    )


def refuse_stopped(wanted: Wanted) -> None:
    """Raise when the service is stopped: only `start`, or an upgrade with --start, starts it again."""
    hold: Hold | None = wanted.stopped
    if hold is not None:
        raise ConductorError(
            f"{wanted.service} is stopped: {hold.who} stopped it at {time_text(hold.since)}"
            + f" ({hold.reason})" * bool(hold.reason),
            f"conductor service start --id {wanted.service}   (or upgrade with --start)",
        )
