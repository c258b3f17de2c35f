"""`conductor service restart`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import run_action
from conductor.commands.options import config_option, id_option, json_option, wait_option

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


@click.command("restart")
@config_option
@id_option
@wait_option
@json_option
def command(*, config: Path, service: str, wait_seconds: float, as_json: bool) -> int:
    """Replace all replicas, using the current definition.

    The revision stays the same. No request is dropped.
    """
    from conductor.change.actions import perform, restart
    from conductor.definitions.unsupported import refuse_unsupported

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        definition = definitions.service(service)
        refuse_unsupported(definitions.host, definition)
        return perform(context, service, restart(definition), defined=definition, wait_seconds=wait_seconds)

    return run_action(config, f"service restart --id {service}", action, as_json=as_json)
