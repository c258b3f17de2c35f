"""`conductor service upgrade`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import run_action
from conductor.commands.options import config_option, ids_option, json_option, wait_option
from conductor.errors import UsageError

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


@click.command("upgrade")
@config_option
@ids_option
@click.option("--revision", required=True, metavar="REV", help="The revision to deploy: the tag of the image.")
@click.option("--plan", "plan_only", is_flag=True, help="Print the steps and exit.")
@click.option("--force", is_flag=True, help="Replace all replicas even if this revision is live and healthy.")
@click.option("--start", is_flag=True, help="Start the service if it is stopped.")
@click.option("--skip-hooks", is_flag=True, help="Do not run before_upgrade.")
@wait_option
@json_option
def command(
    *,
    config: Path,
    ids: tuple[str, ...],
    revision: str,
    plan_only: bool,
    force: bool,
    start: bool,
    skip_hooks: bool,
    wait_seconds: float,
    as_json: bool,
) -> int:
    """Deploy a revision without dropping a request.

    The new replicas must be healthy before nginx sends requests to them. Then the old replicas finish their requests and
    are removed. If a step fails, Conductor rolls the upgrade back, and the previous release keeps serving.
    """
    from conductor.change.upgrade import Options, upgrade
    from conductor.definitions.model import REVISION
    from conductor.definitions.unsupported import refuse_unsupported

    if not re.fullmatch(REVISION, revision):
        raise UsageError(
            f"cannot use revision {revision!r}: it is not a valid image tag",
            "write at most 128 letters, digits and _ . -, starting with a letter, a digit or _",
        )
    options = Options(plan_only=plan_only, force=force, start=start, skip_hooks=skip_hooks, wait_seconds=wait_seconds)

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        chosen = [definitions.service(service) for service in dict.fromkeys(ids)]
        for definition in chosen:
            refuse_unsupported(definitions.host, definition)
        return upgrade(context, chosen, revision, options)

    words = f"service upgrade {' '.join(f'--id {service}' for service in ids)} --revision {revision}"
    return run_action(config, words, action, as_json=as_json)
