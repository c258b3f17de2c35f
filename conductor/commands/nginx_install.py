"""`conductor nginx install`: what nginx includes, for every defined service, so that an operator's block finds its upstream."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.acting import act
from conductor.commands.options import config_option, json_option

if TYPE_CHECKING:
    from conductor.change.doors import Doors
    from conductor.definitions.load import Definitions
    from conductor.report.events import Finished


@click.command("install")
@config_option
@json_option
def command(*, config: Path, as_json: bool) -> int:
    """Write a file for every defined service; one with nothing running answers 503. Reloads nginx if it runs."""

    def action(definitions: "Definitions", doors: "Doors") -> "Finished":
        from conductor.commands.sites import lock_idle, sites
        from conductor.report.events import Finished, Warned

        began = doors.clock.monotonic()
        for problem in definitions.problems:
            doors.report.emit(Warned(str(problem)))
        with contextlib.ExitStack() as locks:
            idle = lock_idle(definitions, doors, locks)
            undefined = set(doors.store.services()) - set(definitions.ids)
            running = {service for service in undefined if doors.engine.containers(service)}
            left = {service for service in idle if _left_nginx(definitions, doors, service)}
            defined = (set(definitions.ids) - left) | running
            changed = doors.proxy.install(sites(definitions, doors, idle), defined)
        text = f"written: {', '.join(sorted(changed))}" if changed else "everything is in place"
        return Finished(text, doors.clock.monotonic() - began, len(definitions.problems), 0)

    return act(config, "nginx install", action, as_json=as_json)


def _left_nginx(definitions: "Definitions", doors: "Doors", service: str) -> bool:
    """Neither the definition nor the live release has nginx (any more)."""
    release = doors.store.wanted(service).release
    return definitions.services[service].service.nginx is None and (
        release is None or "nginx" not in release.definition
    )
