"""The routes of all defined services, from their wanted states and the replicas that are fit to serve."""

import contextlib
from collections.abc import Iterable

from conductor.change.context import Context
from conductor.definitions.load import Definitions, restore
from conductor.definitions.model import Definition
from conductor.errors import BusyError, ConductorError
from conductor.health.fitness import unfit
from conductor.output.events import Notice
from conductor.plan.release import Release
from conductor.plan.route import Route


def routes(definitions: Definitions, context: Context, ids: Iterable[str]) -> tuple[Route, ...]:
    """Return a route for each of these services that has nginx: the release as it was committed, else the definition.

    Requests go to the replicas that pass their check now; if there are none, to those that get requests already; if there
    are none of these either, to all that run. The runtime is not contacted for a service that has never been deployed.
    """
    found = (_route(definitions.services.get(service), context, service) for service in ids)
    return tuple(route for route in found if route is not None)


def _route(defined: Definition | None, context: Context, service: str) -> Route | None:
    wanted = context.store.wanted(service)
    release = wanted.release
    committed = _committed(context, service, release) if release else None
    if release is not None and committed is None:
        return None  # its route is not changed
    if release is None and context.traffic.serving(service):
        text = (
            f"skipped {service}: nginx sends requests to it, but its state file in {context.host.state_dir} is missing"
        )
        context.output.emit(Notice(text=text))
        return None
    if release is None or committed is None or committed.service.nginx is None:
        return Route(defined, ()) if defined and defined.service.nginx else None
    live = [one for one in context.runtime.containers(service).replicas if one.running and one.release == release.id]
    failing = unfit(context.health, committed.service.health, live)
    serving = context.traffic.serving(service)
    chosen = [one for one in live if one.id not in failing] or [one for one in live if one.endpoint in serving] or live
    endpoints = tuple(one.endpoint for one in chosen if one.endpoint)
    return Route(committed, endpoints, release.template, wanted.maintenance)


def _committed(context: Context, service: str, release: Release) -> Definition | None:
    try:
        return restore(service, release.definition)
    except ConductorError as error:
        context.output.emit(Notice(text=f"skipped {service}: {error.sentence}"))
        return None


def lock_idle(definitions: Definitions, context: Context, locks: contextlib.ExitStack) -> tuple[str, ...]:
    """Lock the defined services, even those with an invalid definition, and return the ids of those without a change in progress.

    The others are skipped with a notice: their change writes their route.
    """
    idle = []
    for service in sorted(definitions.ids):
        try:
            locks.enter_context(context.locks.hold(service))
        except BusyError as error:
            context.output.emit(Notice(text=f"skipped {service}: {error.sentence}"))
            continue
        if context.store.journal(service) is None:
            idle.append(service)
        else:
            text = f"skipped {service}: it has an interrupted change, which the next command on it will recover"
            context.output.emit(Notice(text=text))
    return tuple(idle)
