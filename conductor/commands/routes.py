"""What nginx should know of every defined service, from wanted state and from what runs."""

import contextlib
from collections.abc import Iterable

from conductor.change.context import Context
from conductor.definitions.load import Definitions
from conductor.errors import BusyError
from conductor.output.events import Told
from conductor.traffic.render import Route


def routes(definitions: Definitions, context: Context, ids: Iterable[str]) -> tuple[Route, ...]:
    """A site for each of these services that has nginx: running containers of the live release, or none.

    A host where nothing was deployed yet needs no daemon for this.
    """
    found = []
    for definition in (definitions.services[service] for service in ids if service in definitions.services):
        release = context.store.wanted(definition.id).release
        if definition.service.nginx is None:
            continue
        containers = context.runtime.containers(definition.id) if release else ()
        live = tuple(
            c.address
            for c in containers
            if release and c.kind == "service" and c.change == release.change and c.running
        )
        found.append(Route(definition, live))
    return tuple(found)


def lock_idle(definitions: Definitions, context: Context, locks: contextlib.ExitStack) -> tuple[str, ...]:
    """Lock every service that nobody changes right now; what an upgrade under way writes is its own business."""
    idle = []
    for service in sorted(definitions.services):
        try:
            locks.enter_context(context.locks.hold(service))
        except BusyError as error:
            context.report.emit(Told(f"{service} is left as it is: {error.sentence}"))
        else:
            if context.store.journal(service) is None:
                idle.append(service)
            else:
                context.report.emit(
                    Told(f"{service} is left as it is: a change of it died, the next command settles it")
                )
    return tuple(idle)
