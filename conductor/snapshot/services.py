"""What `list` and `status` show: wanted and running side by side, with every reason for a difference.

Nothing here fails for all because of one: a state file that is damaged, a definition that is broken, a service that is
no longer defined is a row that says so.
"""

import contextlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec

from conductor.change.context import Context
from conductor.definitions.environment import redaction
from conductor.definitions.load import Definitions, restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.plan.transition import drifted, wanted_count
from conductor.plan.values import Container, Held, Wanted
from conductor.state.supervisor_status import ServiceNote, read_notes

AT_ONCE = 16  # services looked at side by side, and containers of each


class ContainerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One container; `health` is one check made now, by the definition it was started with."""

    name: str
    revision: str
    address: str
    state: str
    health: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One service. `running` counts running containers of the live release, `healthy` those of them that pass a check
    now, `count` those wanted; `scale` is a count by hand."""

    service: str
    revision: str | None
    count: int
    running: int
    healthy: int
    summary: str
    scale: int | None
    stopped: Held | None
    notes: tuple[str, ...]
    containers: tuple[ContainerRow, ...]


def look(definitions: Definitions, context: Context, only: str | None = None) -> list[Row]:
    """A row for each service of the file and for each that is left of an earlier one; or for one of them."""
    found = context.runtime.containers(only)
    left = {*context.store.services(), *(c.service for c in found)}.difference(definitions.ids)
    ids = [service for service in (*definitions.ids, *sorted(left)) if only in (None, service)]
    if only is not None and not ids:
        definitions.service(only)  # says that there is no such service, and which is nearest
    noted = _noted(context)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda service: _row(definitions, context, service, found, noted), ids))


def _noted(context: Context) -> Mapping[str, ServiceNote]:
    """What a `supervise` that runs is waiting for."""
    with contextlib.suppress(ConductorError):
        notes = read_notes(context.host.runtime_dir)
        return notes.services if notes is not None else {}
    return {}


def _row(
    definitions: Definitions,
    context: Context,
    service: str,
    found: tuple[Container, ...],
    noted: Mapping[str, ServiceNote],
) -> Row:
    containers = [c for c in found if c.service == service and c.kind == "service"]
    try:
        wanted = context.store.wanted(service)
    except ConductorError as damaged:
        return _damaged(service, containers, damaged)
    defined = definitions.services.get(service)
    shown = _shown(context, _released(wanted) or defined, containers)
    live = [row for c, row in zip(containers, shown, strict=True) if c.running and _is_live(c, wanted)]
    healthy = sum(row.health in {"healthy", "-"} for row in live)
    counted = defined or _released(wanted)
    count = wanted_count(wanted, counted) if counted else len(live)
    notes = [*_broken(definitions, service), *_held(context, wanted, defined), *_change(context, service)]
    notes += [f"supervise: {noted[service]}"] if service in noted and _waits(wanted, noted[service]) else []
    return Row(
        service=service,
        revision=wanted.release.revision if wanted.release else None,
        count=count,
        running=len(live),
        healthy=healthy,
        summary=_summary(definitions, wanted, count, len(live), healthy),
        scale=wanted.scale,
        stopped=wanted.stopped,
        notes=(*notes, *_differences(wanted, defined, containers)),
        containers=tuple(shown),
    )


def _damaged(service: str, containers: list[Container], error: ConductorError) -> Row:
    rows = tuple(_container_row(c, "-") for c in containers)
    running = sum(c.running for c in containers)
    return Row(
        service=service, revision=None, count=0, running=running, healthy=0, summary="damaged", scale=None,
        stopped=None, notes=(f"{error.sentence}; {error.hint}",), containers=rows,
    )  # fmt: skip


def _released(wanted: Wanted) -> Definition | None:
    """The definition of the live release, where there is one that this Conductor reads."""
    with contextlib.suppress(ConductorError):
        return restore(wanted.service, wanted.release.definition) if wanted.release else None
    return None


def _is_live(container: Container, wanted: Wanted) -> bool:
    return wanted.release is not None and container.change == wanted.release.change


def _summary(definitions: Definitions, wanted: Wanted, count: int, running: int, healthy: int) -> str:
    """The worst that can be said, in three words."""
    if wanted.service not in definitions.ids:
        return "not in the definitions"
    if wanted.service not in definitions.services:
        return "broken definition"
    if wanted.release is None:
        return "never deployed"
    if running < count:
        return f"{count - running} missing"
    if running > count:
        return f"{running - count} too many"
    if healthy < running:
        return f"{healthy} of {running} healthy"
    return "stopped" if wanted.stopped else "ok"


def _broken(definitions: Definitions, service: str) -> list[str]:
    problems = definitions.broken.get(service, ())
    return [f"its definition is broken: {problem}" for problem in problems[:1]]


def _waits(wanted: Wanted, note: ServiceNote) -> bool:
    """Whether the note says more than the rest of the row."""
    return wanted.paused is None and (bool(note.until) or not note.why.startswith(("as wanted", "never deployed")))


def _held(context: Context, wanted: Wanted, defined: Definition | None) -> list[str]:
    """What a person has decided by hand."""
    notes = []
    for word, held in (("stopped", wanted.stopped), ("paused", wanted.paused)):
        if held is not None and not held.is_over(context.clock.now()):
            until = f" until {held.until}" if held.until else ""
            notes.append(f"{word} by {held.who} at {held.since}{until}" + (f": {held.reason}" if held.reason else ""))
    if wanted.scale is not None:
        written = f" (the definition says {defined.service.count})" if defined else ""
        notes.append(f"scaled by hand to {wanted.scale}{written}; conductor service scale --reset ends that")
    return notes


def _change(context: Context, service: str) -> list[str]:
    """One under way, or one that died."""
    if (holder := context.locks.holder(service)) is not None:
        return [f"busy: {holder}"]
    try:
        journal = context.store.journal(service)
    except ConductorError as damaged:
        return [f"{damaged.sentence}; {damaged.hint}"]
    if journal is None:
        return []
    return [f"the {journal.action} to {journal.release.revision} begun {journal.began} died; the next one settles it"]


def _differences(wanted: Wanted, defined: Definition | None, containers: list[Container]) -> list[str]:
    notes = []
    if defined and drifted(wanted, defined):
        notes.append("drifted: the definition has changed since the release; upgrade or restart to apply it")
    others = [c.name for c in containers if not _is_live(c, wanted)]
    if others:
        notes.append(f"not of the live release: {', '.join(others)}")
    return notes


def _shown(context: Context, definition: Definition | None, containers: list[Container]) -> list[ContainerRow]:
    """Each container with one check made now; "-" where there is nothing to check."""
    health = definition.service.health if definition else None
    if definition is None or health is None:
        return [_container_row(c, "-") for c in containers]
    redact = redaction(definition.service)  # what an app answers may hold its secrets
    with ThreadPoolExecutor(AT_ONCE) as pool:
        attempts = list(pool.map(lambda c: context.health.check(c, health, redact) if c.running else None, containers))
    said = ["-" if a is None else "healthy" if a.ok else str(a) for a in attempts]
    return [_container_row(c, text) for c, text in zip(containers, said, strict=True)]


def _container_row(container: Container, health: str) -> ContainerRow:
    return ContainerRow(
        name=container.name,
        revision=container.revision,
        address=container.address,
        state=container.state,
        health=health,
    )
