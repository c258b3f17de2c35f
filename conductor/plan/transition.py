"""What each verb wants of one service (pure): which containers stay, how many there shall be, what is committed.

All verbs are one kind of transition, walked by the same steps (`steps.py`) with the same gate, cutover, drain and undo.
"""

from collections.abc import Collection
from typing import Literal

import msgspec

from conductor.definitions.model import Definition, Hook
from conductor.errors import ConductorError
from conductor.plan.values import Container, Held, Release, Wanted

Action = Literal["upgrade", "rollback", "restart", "start", "stop", "scale", "supervise"]


KEEPS_CRONTAB = {"scale", "supervise"}


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One service from `old` to `new`. `definition` is that of the release; `keep` are the containers that stay,
    `gone` all others of the service, `count` how many shall run in the end; `why` where no person has asked for it."""

    action: Action
    definition: Definition
    old: Wanted
    new: Wanted
    count: int
    keep: tuple[Container, ...] = ()
    gone: tuple[Container, ...] = ()
    hook: Hook | None = None
    why: str = ""

    @property
    def through_nginx(self) -> bool:
        """Whether nginx sends requests to it, or did: then it has to be told."""
        was = self.old.release is not None and self.old.release.definition.get("nginx") is not None
        return was or self.definition.service.nginx is not None

    @property
    def generate(self) -> tuple[str, ...]:
        """The command that prints the crontab, when it has to be printed anew: a rollback has it in its release."""
        cron = self.definition.service.cron
        return cron.generate if cron and self.action in {"upgrade", "restart"} else ()

    @property
    def installs_crontab(self) -> bool:
        """Whether there is one, or was; nothing of it changes when the count does, or when a container is replaced."""
        was = self.old.release is not None and self.old.release.crontab
        return self.action not in KEEPS_CRONTAB and bool(self.definition.service.cron or was)

    @property
    def added(self) -> int:
        """How many containers are started."""
        return max(0, self.count - len(self.keep))


def wanted_count(wanted: Wanted, definition: Definition) -> int:
    """None when stopped; the count by hand (`scale`), else the definition's."""
    if wanted.stopped is not None:
        return 0
    return wanted.scale if wanted.scale is not None else definition.service.count


def drifted(wanted: Wanted, defined: Definition) -> bool:
    """Whether the definition has changed since the release; the count follows the file without a new one."""
    if wanted.release is None:
        return False
    was, now = wanted.release.definition, defined.written
    return {**was, "count": None} != {**now, "count": None}


def release(definition: Definition, revision: str, image_id: str, change: str) -> Release:
    """A new release, as it will be committed."""
    return Release(
        service=definition.id,
        revision=revision,
        image=f"{definition.service.image}:{revision}",
        image_id=image_id,
        digest=definition.digest,
        change=change,
        definition=definition.written,
    )


def live_release(wanted: Wanted) -> Release:
    """The committed release; a sentence when nothing was deployed yet."""
    if wanted.release is None:
        raise ConductorError(
            f"cannot find a release of {wanted.service}: nothing of it was deployed here yet",
            f"conductor service upgrade --id {wanted.service} --revision REV",
        )
    return wanted.release


def named_release(wanted: Wanted, revision: str | None) -> Release | None:
    """The live release without a revision, else the live or kept one of that name; None when it never ran here."""
    if revision is None:
        return live_release(wanted)
    known = {one.revision: one for one in (*reversed(wanted.kept), wanted.release) if one}
    return known.get(revision)


def previous_release(wanted: Wanted, revision: str | None) -> Release:
    """The kept release of `revision`, or without one the release before the live one."""
    live = live_release(wanted)
    kept = {r.revision: r for r in reversed(wanted.kept)}
    if revision is None and wanted.kept:
        return wanted.kept[0]
    if revision is not None and revision in kept:
        return kept[revision]
    if revision == live.revision:
        raise ConductorError(f"cannot roll {wanted.service} back: {revision} is live already", "restart makes it anew")
    known = ", ".join(r.revision for r in wanted.kept) or "none"
    what = f"release {revision}" if revision else f"a release before {live.revision}"
    raise ConductorError(f"cannot roll {wanted.service} back: {what} is not kept", f"kept are: {known}")


def replace_all(
    action: Action,
    wanted: Wanted,
    definition: Definition,
    to: Release,
    containers: Collection[Container],
    *,
    keep_releases: int,
    hook: Hook | None = None,
    counted: Definition | None = None,
) -> Transition:
    """Upgrade, rollback and restart: every container is a new one, and a stopped service (`refuse_stopped`) is started.
    `counted`: the definition whose count holds, where it is another one."""
    new = msgspec.structs.replace(wanted.with_release(to, keep_releases), change=to.change, stopped=None)
    count, gone = wanted_count(new, counted or definition), _services(containers)
    return Transition(action=action, definition=definition, old=wanted, new=new, count=count, gone=gone, hook=hook)


def adjust(
    action: Action,
    wanted: Wanted,
    new: Wanted,
    definition: Definition,
    containers: Collection[Container],
    *,
    counted: Definition | None = None,
) -> Transition:
    """Start, stop and scale: containers of the live release stay as far as they are wanted."""
    live = live_release(wanted)
    count = wanted_count(new, counted or definition)
    mine = _services(containers)
    keep = tuple(c for c in mine if c.running and c.change == live.change)[:count]
    gone = tuple(c for c in mine if c not in keep)
    return Transition(action=action, definition=definition, old=wanted, new=new, count=count, keep=keep, gone=gone)


def correct(
    wanted: Wanted,
    definition: Definition,
    containers: Collection[Container],
    *,
    keep: Collection[str],
    count: int,
    change: str,
) -> Transition:
    """What `supervise` does: the live release at its count, with the containers whose ids are in `keep`."""
    mine = _services(containers)
    return Transition(
        action="supervise",
        definition=definition,
        old=wanted,
        new=msgspec.structs.replace(wanted, change=change),
        count=count,
        keep=tuple(c for c in mine if c.id in keep),
        gone=tuple(c for c in mine if c.id not in keep),
    )


def refuse_stopped(wanted: Wanted) -> None:
    """A stopped service is not deployed onto behind the back of who stopped it."""
    held: Held | None = wanted.stopped
    if held is not None:
        raise ConductorError(
            f"cannot deploy: {wanted.service} is stopped: {held.who} stopped it at {held.since}"
            + f" ({held.reason})" * bool(held.reason),
            f"conductor service start --id {wanted.service} starts it again; an upgrade does both with --start",
        )


def _services(containers: Collection[Container]) -> tuple[Container, ...]:
    return tuple(c for c in containers if c.kind == "service")
