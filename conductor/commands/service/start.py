"""`conductor service start`."""

import click

from conductor.commands.options import ids_option
from conductor.commands.service.action import ActionOptions, action_options, run_on_services


@click.command("start")
@ids_option
@action_options
def command(common: ActionOptions, *, ids: tuple[str, ...]) -> int:
    """Start stopped services or missing replicas."""
    from conductor.change.actions import start

    return run_on_services(common, "start", ids, start)
