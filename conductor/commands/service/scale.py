"""`conductor service scale`."""

from pathlib import Path

import click

from conductor.commands.options import (
    WholeNumber,
    config_option,
    id_option,
    json_option,
    plan_option,
    wait_option,
    without_edge_option,
)
from conductor.commands.service.action import run_on_services
from conductor.commands.variables import CommandLineOnly
from conductor.errors import UsageError


@click.command("scale")
@config_option
@id_option
@click.option(
    "--count",
    cls=CommandLineOnly,
    type=WholeNumber(0, 1000),
    metavar="N",
    help="Run N replicas instead of the count in the definitions file.",
)
@click.option("--reset", cls=CommandLineOnly, is_flag=True, help="Return to the count in the definitions file.")
@plan_option
@wait_option
@without_edge_option
@json_option
def command(
    *,
    config: Path,
    service: str,
    count: int | None,
    reset: bool,
    plan_only: bool,
    wait_seconds: float,
    without_edges: tuple[str, ...],
    as_json: bool,
) -> int:
    """Change the number of replicas of the live release."""
    from conductor.change.actions import scale

    if (count is None) != reset:
        raise UsageError(
            f"cannot scale {service}: exactly one of --count and --reset is required", "add --count N or --reset"
        )
    return run_on_services(
        config, "scale", [service], scale(count), options="--reset" if reset else f"--count {count}",
        wait_seconds=wait_seconds, as_json=as_json, plan_only=plan_only, without_edges=without_edges,
    )  # fmt: skip
