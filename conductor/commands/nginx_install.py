"""`conductor nginx install`: what nginx includes, for every defined service, so that an operator's block finds its upstream."""

import sys
from pathlib import Path

import click

from conductor.commands.options import config_option, json_option


@click.command("install")
@config_option
@json_option
def command(*, config: Path, as_json: bool) -> int:
    """Write a file for every defined service; one with nothing running answers 503. Reloads nginx if it runs."""
    from conductor.commands.opening import open_doors
    from conductor.commands.sites import sites
    from conductor.report.events import Told, Warned
    from conductor.report.printers import make_printer

    report = make_printer(json=as_json, stdout=sys.stdout, stderr=sys.stderr)
    definitions, doors = open_doors(config, "nginx install", report)
    for problem in definitions.problems:
        report.emit(Warned(str(problem)))
    undefined = set(doors.store.services()) - set(definitions.ids)
    gone = tuple(f"{service}.conf" for service in sorted(undefined) if not doors.engine.containers(service))
    changed = doors.proxy.install(sites(definitions, doors), gone)
    report.emit(Told(f"written: {', '.join(sorted(changed))}" if changed else "everything is in place"))
    return 0
