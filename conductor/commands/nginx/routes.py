"""The routes of all defined services, from their wanted states and their running replicas."""

import contextlib
from collections.abc import Iterable

from conductor.change.context import Context
from conductor.definitions.load import Definitions
from conductor.errors import BusyError
from conductor.output.events import Notice
from conductor.plan.route import Route


def routes(definitions: Definitions, context: Context, ids: Iterable[str]) -> tuple[Route, ...]:
    """Return a route for each of these services that has nginx. Without running replicas the route has no endpoint.

    The runtime is not contacted for a service that has never been deployed.
    """
    found = []
    for definition in (definitions.services[service] for service in ids if service in definitions.services):
        release = context.store.wanted(definition.id).release
        if definition.service.nginx is None:
            continue
        replicas = context.runtime.containers(definition.id).replicas if release else ()
        live = [one for one in replicas if release and one.running and one.release == release.id]
        found.append(Route(definition, tuple(one.endpoint for one in live if one.endpoint)))
    return tuple(found)


def lock_idle(definitions: Definitions, context: Context, locks: contextlib.ExitStack) -> tuple[str, ...]:
    """Lock the defined services, and return the ids of those without a change in progress.

    The others are skipped with a notice: their change writes their route.
    """
    idle = []
    for service in sorted(definitions.services):
        try:
            locks.enter_context(context.locks.hold(service))
        except BusyError as error:
            context.output.emit(Notice(text=f"{service} is skipped: {error.sentence}"))
            continue
        if context.store.journal(service) is None:
            idle.append(service)
        else:
            text = f"{service} is skipped: it has an interrupted change, which the next command on it will recover"
            context.output.emit(Notice(text=text))
    return tuple(idle)
