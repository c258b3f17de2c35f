"""`conductor cron remove`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import run_action
from conductor.commands.options import config_option, id_option, json_option, wait_option

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


@click.command("remove")
@config_option
@id_option
@wait_option
@json_option
def command(*, config: Path, service: str, wait_seconds: float, as_json: bool) -> int:
    """Remove the crontab from this host.

    To install the crontab again, run "conductor cron install". A restart, a rollback or an upgrade to another revision also installs it.
    """

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        from conductor.change.install_crontab import remove

        if context.crontabs.read(service) is None:
            definitions.require_known(service, context.store.services())
        return remove(context, service, wait_seconds)

    return run_action(config, f"cron remove --id {service}", action, as_json=as_json)
