"""`conductor service rollback`."""

from pathlib import Path

import click

from conductor.commands import candidates
from conductor.commands.options import (
    config_option,
    ids_option,
    json_option,
    plan_option,
    wait_option,
    without_edge_option,
)
from conductor.commands.service.action import run_on_services
from conductor.commands.variables import CommandLineOnly


@click.command("rollback")
@config_option
@ids_option
@click.option(
    "--to", "revision", cls=CommandLineOnly, metavar="REV", shell_complete=candidates.kept_revisions,
    help="A retained revision. Default: the release before the live one; a second rollback goes further back.",
)  # fmt: skip
@plan_option
@wait_option
@without_edge_option
@json_option
def command(
    *,
    config: Path,
    ids: tuple[str, ...],
    revision: str | None,
    plan_only: bool,
    wait_seconds: float,
    without_edges: tuple[str, ...],
    as_json: bool,
) -> int:
    """Return to an earlier release.

    The release runs with its own definition and image. The image is pulled only if it was removed from the host.
    """
    from conductor.change.actions import rollback

    return run_on_services(
        config, "rollback", ids, rollback(revision), options=f"--to {revision}" if revision else "",
        wait_seconds=wait_seconds, as_json=as_json, plan_only=plan_only, without_edges=without_edges,
    )  # fmt: skip
