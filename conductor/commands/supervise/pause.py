"""`conductor supervise pause`: leave one service alone."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import run_action
from conductor.commands.options import config_option, duration, id_option, json_option

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished

wait_option = click.option(
    "--wait", "wait_seconds", callback=duration, default="10s", show_default=True, metavar="DURATION",
    help="Wait up to this long for another command on the service to finish.",
)  # fmt: skip


def _not_blank(_context: click.Context, _param: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("must not be empty")
    return value


@click.command("pause")
@config_option
@id_option
@click.option("--reason", required=True, callback=_not_blank, help="The reason, shown in status and in the history.")
@click.option(
    "--for", "seconds", callback=duration, metavar="DURATION", help="End the pause after this time. Default: no limit."
)
@wait_option
@json_option
def command(
    *, config: Path, service: str, reason: str, seconds: float | None, wait_seconds: float, as_json: bool
) -> int:
    """Stop supervise from acting on a service until it is resumed."""

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        from conductor.change.pause import pause

        definitions.require_known(service, context.store.services())
        return pause(context, service, reason, seconds, wait_seconds)

    return run_action(config, f"supervise pause --id {service}", action, as_json=as_json)
