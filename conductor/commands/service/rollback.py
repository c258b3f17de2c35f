"""`conductor service rollback`."""

from pathlib import Path

import click

from conductor.commands.options import config_option, id_option, json_option, wait_option
from conductor.commands.service.action import run_on_service


@click.command("rollback")
@config_option
@id_option
@click.option("--to", "revision", metavar="REV", help="A kept revision. Default: the release before the live one.")
@wait_option
@json_option
def command(*, config: Path, service: str, revision: str | None, wait_seconds: float, as_json: bool) -> int:
    """Return to an earlier release.

    The release runs with its own definition and image. No registry is needed.
    """
    from conductor.change.actions import rollback

    words = f"service rollback --id {service}" + (f" --to {revision}" if revision else "")
    return run_on_service(config, words, service, rollback(revision), wait_seconds=wait_seconds, as_json=as_json)
