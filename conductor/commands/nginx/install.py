"""`conductor nginx install`: the files that nginx includes, so that an operator's server block finds its upstream."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import run_action
from conductor.commands.options import config_option, json_option

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


@click.command("install")
@config_option
@json_option
def command(*, config: Path, as_json: bool) -> int:
    """Write the files for nginx, and reload nginx if necessary.

    Changes to your own nginx files also cause a reload. Each service with `nginx` in its definition gets an upstream, which
    returns 503 until the service has running replicas. nginx does not have to be running.
    """
    return run_action(config, "nginx install", install, as_json=as_json)


def install(definitions: "Definitions", context: "Context") -> "Finished":
    """Write the routes of all idle services, and remove those that are not kept."""
    from conductor.commands.nginx.routes import lock_idle, routes
    from conductor.output.events import Finished, Notice, Warned
    from conductor.traffic.port import edited_warning

    began = context.clock.monotonic()
    for problem in definitions.problems:
        context.output.emit(Warned(text=str(problem)))
    with contextlib.ExitStack() as locks:
        idle = lock_idle(definitions, context, locks)
        keep = _kept(definitions, context, idle)
        found = routes(definitions, context, idle)
        edited = [path for route in found if (path := context.traffic.edited(route.service))]
        for path in edited:
            context.output.emit(Warned(text=edited_warning(path)))
        changed = context.traffic.install(found, keep)
    done = [f"wrote {', '.join(sorted(changed.wrote))}"] if changed.wrote else []
    done += [f"nginx loaded the changes in {', '.join(changed.loaded)}"] if changed.loaded else []
    text = "; ".join(done) or "all files are up to date; nothing to do"
    if not context.traffic.is_running():
        text += "; nginx is not running: systemctl start nginx"
    for notice in context.traffic.notices(found):
        context.output.emit(Notice(text=notice))
    return Finished(
        text=text,
        seconds=context.clock.monotonic() - began,
        warnings=len(definitions.problems) + len(edited),
    )


def _kept(definitions: "Definitions", context: "Context", idle: tuple[str, ...]) -> set[str]:
    """Return the services whose routes must not be removed: defined ones, and undefined ones that have containers
    or a change in progress.

    An `idle` service is left out if its definition is valid and neither the definition nor the live release has nginx.
    """
    from conductor.plan.transition import was_routed

    undefined = set(context.store.services()).difference(definitions.ids)
    present = {service for service in undefined if any(context.runtime.containers(service))}
    unrouted = {
        service
        for service in idle
        if service in definitions.services
        and definitions.services[service].service.nginx is None
        and not was_routed(context.store.wanted(service))
    }
    return set(definitions.ids).difference(unrouted) | present | set(context.store.in_progress())
