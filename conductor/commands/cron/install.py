"""`conductor cron install`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import run_action
from conductor.commands.options import config_option, id_option, json_option, revision_option, wait_option

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


@click.command("install")
@config_option
@id_option
@revision_option
@wait_option
@json_option
def command(*, config: Path, service: str, revision: str | None, wait_seconds: float, as_json: bool) -> int:
    """Generate the crontab in a container and install it.

    If the generated crontab has no jobs, the installed file is removed.
    """

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        from conductor.change.install_crontab import install

        return install(context, definitions, service, revision, wait_seconds)

    words = f"cron install --id {service}" + (f" --revision {revision}" if revision else "")
    return run_action(config, words, action, as_json=as_json)
