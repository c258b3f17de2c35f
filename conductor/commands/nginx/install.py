"""`conductor nginx install`: what nginx includes, for every defined service, so that an operator's block finds its upstream."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import act
from conductor.commands.options import config_option, json_option

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


@click.command("install")
@config_option
@json_option
def command(*, config: Path, as_json: bool) -> int:
    """Write a file for every defined service; one with nothing running answers 503. Reloads nginx if it runs."""

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        from conductor.commands.routes import lock_idle, routes
        from conductor.output.events import Finished, Warned

        began = context.clock.monotonic()
        for problem in definitions.problems:
            context.report.emit(Warned(str(problem)))
        with contextlib.ExitStack() as locks:
            idle = lock_idle(definitions, context, locks)
            undefined = set(context.store.services()) - set(definitions.ids)
            running = {service for service in undefined if context.runtime.containers(service)}
            left = {service for service in idle if _left_nginx(definitions, context, service)}
            defined = (set(definitions.ids) - left) | running
            changed = context.traffic.install(routes(definitions, context, idle), defined)
        text = f"written: {', '.join(sorted(changed))}" if changed else "everything is in place"
        return Finished(text, context.clock.monotonic() - began, len(definitions.problems), 0)

    return act(config, "nginx install", action, as_json=as_json)


def _left_nginx(definitions: "Definitions", context: "Context", service: str) -> bool:
    """Neither the definition nor the live release has nginx (any more)."""
    release = context.store.wanted(service).release
    return definitions.services[service].service.nginx is None and (
        release is None or "nginx" not in release.definition
    )
