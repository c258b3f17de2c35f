"""What `list` and `status` show: wanted and running side by side, with every reason for a difference."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from conductor.change.checks import check
from conductor.change.doors import Doors
from conductor.definitions.environment import environment
from conductor.definitions.load import Definitions
from conductor.definitions.model import Definition
from conductor.definitions.redaction import redactor
from conductor.errors import ConductorError
from conductor.plan.moves import wanted_count
from conductor.plan.values import Container, Wanted


class ContainerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One container; `health` is one check made now."""

    name: str
    revision: str
    address: str
    state: str
    health: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One service. `running` counts running containers of the live release, `count` those wanted."""

    service: str
    revision: str | None
    count: int
    running: int
    summary: str
    notes: tuple[str, ...]
    containers: tuple[ContainerRow, ...]


def look(definitions: Definitions, doors: Doors, only: str | None = None) -> list[Row]:
    """A row for each service of the file, or for one; a broken definition has a row too."""
    if only is not None and only not in definitions.ids:
        definitions.service(only)  # says that there is no such service, and which is nearest
    running = doors.engine.containers(only)
    ids = [i for i in definitions.ids if only in (None, i)]
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda i: _row(definitions, doors, i, running), ids))


def _row(definitions: Definitions, doors: Doors, service: str, everything: tuple[Container, ...]) -> Row:
    wanted = doors.store.wanted(service)
    definition = definitions.services.get(service)
    mine = [c for c in everything if c.service == service and c.kind == "service"]
    live = [c for c in mine if wanted.release and c.change == wanted.release.change and c.running]
    count = wanted_count(wanted, definition) if definition else len(live)
    notes = _notes(doors, wanted, definition, mine)
    short = (
        "broken definition" if definition is None else "ok" if len(live) == count else f"{count - len(live)} missing"
    )
    return Row(
        service=service,
        revision=wanted.release.revision if wanted.release else None,
        count=count,
        running=len(live),
        summary="never deployed" if wanted.release is None and definition else short,
        notes=notes,
        containers=tuple(_container(doors, definition, c) for c in mine),
    )


def _notes(doors: Doors, wanted: Wanted, definition: Definition | None, mine: list[Container]) -> tuple[str, ...]:
    notes = []
    if (holder := doors.locks.holder(wanted.service)) is not None:
        notes.append(f"busy: {holder}")
    elif (journal := doors.store.journal(wanted.service)) is not None:
        notes.append(
            f"the {journal.action} to {journal.release.revision} begun {journal.began} died; the next one settles it"
        )
    if definition and wanted.release and definition.digest != wanted.release.digest:
        notes.append("drifted: the definition has changed since the release; upgrade to apply it")
    others = [c.name for c in mine if wanted.release is None or c.change != wanted.release.change]
    if others:
        notes.append(f"not of the live release: {', '.join(others)}")
    return tuple(notes)


def _redactor(definition: Definition) -> Callable[[str], str]:
    """What an app answers may hold its secrets; where they cannot be read, nothing of it is shown."""
    try:
        return redactor(environment(definition.service).values())
    except ConductorError:
        return lambda text: text and "(not shown: its secrets cannot be read)"


def _container(doors: Doors, definition: Definition | None, container: Container) -> ContainerRow:
    health = "-"
    if container.running and definition and definition.service.health:
        attempt = check(doors, container, definition.service.health, _redactor(definition))
        health = "healthy" if attempt.ok else str(attempt)
    return ContainerRow(
        name=container.name,
        revision=container.revision,
        address=container.address,
        state=container.state,
        health=health,
    )
