"""`conductor service stop`."""

from pathlib import Path

import click

from conductor.commands.options import (
    config_option,
    ids_option,
    json_option,
    plan_option,
    wait_option,
    without_edge_option,
)
from conductor.commands.service.action import run_on_services


@click.command("stop")
@config_option
@ids_option
@click.option(
    "--reason",
    default="",
    metavar="TEXT",
    help="The reason, shown in status and in the error when an upgrade is refused.",
)
@plan_option
@wait_option
@without_edge_option
@json_option
def command(
    *,
    config: Path,
    ids: tuple[str, ...],
    reason: str,
    plan_only: bool,
    wait_seconds: float,
    without_edges: tuple[str, ...],
    as_json: bool,
) -> int:
    """Drain and stop a service until it is started again.

    nginx returns 503 for the service. The service stays stopped after a reboot.
    """
    from conductor.change.actions import stop

    return run_on_services(
        config,
        "stop",
        ids,
        stop(reason),
        wait_seconds=wait_seconds,
        as_json=as_json,
        plan_only=plan_only,
        without_edges=without_edges,
    )
