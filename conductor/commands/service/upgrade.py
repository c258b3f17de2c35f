"""`conductor service upgrade`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import act
from conductor.commands.options import config_option, ids_option, json_option, wait_option
from conductor.errors import UsageError

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


@click.command("upgrade")
@config_option
@ids_option
@click.option("--revision", required=True, help="The git revision, which is the image's tag.")
@click.option("--plan", "plan_only", is_flag=True, help="Print the steps and stop.")
@click.option("--force", is_flag=True, help="Also when this revision runs and is healthy.")
@click.option("--start", is_flag=True, help="Also when the service was stopped: it is started with this release.")
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
    """Transition a service to another revision without dropping a request."""
    from conductor.change.upgrade import Options, upgrade
    from conductor.definitions.model import REVISION
    from conductor.definitions.unsupported import refuse_unsupported

    if not re.fullmatch(REVISION, revision):
        raise UsageError(
            f"cannot use revision {revision!r}: it is no image tag", "write letters, digits, _ . - (128 at most)"
        )
    options = Options(plan_only=plan_only, force=force, start=start, skip_hooks=skip_hooks, wait_seconds=wait_seconds)

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        wanted = [definitions.service(service) for service in dict.fromkeys(ids)]
        for definition in wanted:
            refuse_unsupported(definitions.host, definition)
        return upgrade(context, wanted, revision, options)

    words = f"service upgrade {' '.join(f'--id {service}' for service in ids)} --revision {revision}"
    return act(config, words, action, as_json=as_json)
