"""`conductor supervise resume`: end the pause of one service."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import run_action
from conductor.commands.options import config_option, id_option, json_option
from conductor.commands.supervise.pause import wait_option

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


@click.command("resume")
@config_option
@id_option
@wait_option
@json_option
def command(*, config: Path, service: str, wait_seconds: float, as_json: bool) -> int:
    """Let supervise act on a paused service again."""

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        from conductor.change.pause import resume

        definitions.require_known(service, context.store.services())
        return resume(context, service, wait_seconds)

    return run_action(config, f"supervise resume --id {service}", action, as_json=as_json)
