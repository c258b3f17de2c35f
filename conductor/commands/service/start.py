"""`conductor service start`."""

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


@click.command("start")
@config_option
@ids_option
@plan_option
@wait_option
@without_edge_option
@json_option
def command(
    *,
    config: Path,
    ids: tuple[str, ...],
    plan_only: bool,
    wait_seconds: float,
    without_edges: tuple[str, ...],
    as_json: bool,
) -> int:
    """Start stopped services, or replicas that are missing."""
    from conductor.change.actions import start

    return run_on_services(
        config,
        "start",
        ids,
        start,
        wait_seconds=wait_seconds,
        as_json=as_json,
        plan_only=plan_only,
        without_edges=without_edges,
    )
