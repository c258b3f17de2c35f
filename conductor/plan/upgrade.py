"""What an upgrade does, decided before anything is done (pure): `--plan` prints the very list that is walked."""

from collections.abc import Collection
from typing import Literal

import msgspec

from conductor.definitions.model import Definition
from conductor.plan import gate
from conductor.plan.values import Container, Release, Wanted

StepName = Literal["start", "gate", "cutover", "commit", "drain", "retire", "record"]


class Step(msgspec.Struct, frozen=True):
    """One step and why: `text` says both."""

    name: StepName
    text: str


class Plan(msgspec.Struct, frozen=True):
    """The steps in order; none, and why, when there is nothing to do."""

    steps: tuple[Step, ...]
    nothing: str = ""


def decide(
    wanted: Wanted,
    definition: Definition,
    new: Release,
    containers: Collection[Container],
    *,
    healthy: bool,
    force: bool,
) -> Plan:
    """The steps from what runs to `new`. `healthy`: the live release answers, at full count, through nginx."""
    live, revision = wanted.release, new.revision
    same = live and (live.revision, live.image_id, live.digest) == (revision, new.image_id, new.digest)
    count = wanted_count(wanted, definition)
    if same and healthy and not force:
        return Plan((), f"{definition.id} already runs {revision}: {count} of {count} healthy; nothing to do")
    old = [c for c in containers if c.kind == "service"]
    was = live.revision if live else "nothing"
    start = f"start {count} × {definition.id} {revision}" if count else f"{definition.id} has count 0: start nothing"
    steps = [Step("start", f"{start} (live: {was})")]
    service = definition.service
    if count and service.health:
        steps.append(Step("gate", f"each: {gate.wording(service.health)}"))
    if service.nginx:
        steps.append(Step("cutover", f"send requests for {definition.upstream} to {revision}"))
    steps.append(Step("commit", f"{definition.id} is {revision} from here on"))
    if old:
        if service.nginx:
            steps.append(Step("drain", f"let old containers finish, at most {service.nginx.drain:g}s"))
        steps.append(Step("retire", f"stop and remove {len(old)} old container{'s' * (len(old) != 1)}"))
    steps.append(Step("record", "write the history"))
    return Plan(tuple(steps))


def wanted_count(wanted: Wanted, definition: Definition) -> int:
    """The count by hand (`scale`), else the definition's."""
    return wanted.scale if wanted.scale is not None else definition.service.count


def release(definition: Definition, revision: str, image_id: str, change: str) -> Release:
    """What is to be committed."""
    return Release(
        service=definition.id,
        revision=revision,
        image=f"{definition.service.image}:{revision}",
        image_id=image_id,
        digest=definition.digest,
        change=change,
        definition=definition.written,
    )
