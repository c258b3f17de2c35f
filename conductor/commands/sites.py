"""What nginx should know of every defined service, from wanted state and from what runs."""

import contextlib
from collections.abc import Iterable

from conductor.change.doors import Doors
from conductor.definitions.load import Definitions
from conductor.errors import BusyError
from conductor.proxy.render import Site
from conductor.report.events import Told


def sites(definitions: Definitions, doors: Doors, ids: Iterable[str]) -> tuple[Site, ...]:
    """A site for each of these services that has nginx: running containers of the live release, or none.

    A host where nothing was deployed yet needs no daemon for this.
    """
    found = []
    for definition in (definitions.services[service] for service in ids if service in definitions.services):
        release = doors.store.wanted(definition.id).release
        if definition.service.nginx is None:
            continue
        containers = doors.engine.containers(definition.id) if release else ()
        live = tuple(
            c.address
            for c in containers
            if release and c.kind == "service" and c.change == release.change and c.running
        )
        found.append(Site(definition, live))
    return tuple(found)


def lock_idle(definitions: Definitions, doors: Doors, locks: contextlib.ExitStack) -> tuple[str, ...]:
    """Lock every service that nobody changes right now; what an upgrade under way writes is its own business."""
    idle = []
    for service in sorted(definitions.services):
        try:
            locks.enter_context(doors.locks.hold(service))
        except BusyError as error:
            doors.report.emit(Told(f"{service} is left as it is: {error.sentence}"))
        else:
            if doors.store.journal(service) is None:
                idle.append(service)
            else:
                doors.report.emit(Told(f"{service} is left as it is: a change of it died, the next command settles it"))
    return tuple(idle)
