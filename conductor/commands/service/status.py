"""`conductor service status`: one paragraph per service, with its replicas."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.options import config_option, json_option, optional_id_option, schema_option
from conductor.errors import ConductorError, UsageError

if TYPE_CHECKING:
    from conductor.output.screen import Screen
    from conductor.snapshot.model import HostSnapshot

WATCH_SECONDS = 2.0  # between two snapshots


@click.command("status")
@config_option
@optional_id_option
@click.option("--probe", is_flag=True, help="Check every replica now, even if supervise is running.")
@click.option(
    "--watch", is_flag=True, help=f"Redraw every {WATCH_SECONDS:g} seconds until Ctrl-C; requires a terminal."
)
@json_option
@schema_option("conductor.snapshot.model:HostSnapshot")
def command(*, config: Path, service: str | None, probe: bool, watch: bool, as_json: bool) -> None:
    """Show services with their replicas and health.

    Health is the result of supervise's latest check. A replica without a current result is checked once.
    The notes below a service explain each problem and name the command that fixes it, if there is one.
    """
    from conductor.commands.action import query_context
    from conductor.definitions.load import load
    from conductor.output.screen import Screen, can_redraw, terminal_size
    from conductor.output.streams import write_stdout
    from conductor.output.tables import as_document
    from conductor.snapshot.host import take_snapshot
    from conductor.snapshot.status_text import status_lines

    if watch and as_json:
        raise UsageError("cannot combine --watch with --json", "run conductor service status --json repeatedly")
    if watch and not can_redraw(sys.stdout):
        raise UsageError(
            "cannot use --watch: standard output is not a terminal that can redraw lines", "leave out --watch"
        )
    definitions, context = query_context(config, "service status")
    if watch:
        watch_host(
            lambda: take_snapshot(load(config), context, service, probe=probe), Screen(sys.stdout), context.clock.sleep
        )
        return
    snapshot = take_snapshot(definitions, context, service, probe=probe)
    if as_json:
        write_stdout(as_document(snapshot))
        return
    for line in status_lines(snapshot, terminal_size(sys.stdout).columns):
        write_stdout(line)


def watch_host(take: "Callable[[], HostSnapshot]", screen: "Screen", sleep: Callable[[float], None]) -> None:
    """Draw snapshots until Ctrl-C, or until the terminal is gone. An error, such as a stopped Docker, is drawn as well.

    Raise a `UsageError` of the first snapshot, such as an unknown service.
    """
    from conductor.output.printers import error_text
    from conductor.snapshot.status_text import status_lines
    from conductor.times import time_text

    first = True
    try:
        while True:
            try:
                snapshot = take()
                lines = [
                    f"conductor service status at {time_text(snapshot.time)}, Ctrl-C to end",
                    *status_lines(snapshot, screen.width),
                ]
            except ConductorError as error:
                if first and isinstance(error, UsageError):
                    raise
                lines = error_text(error.sentence, error.details, error.hint).splitlines()
            first = False
            if not screen.draw(lines):
                return
            sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        screen.end()
