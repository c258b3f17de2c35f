"""`conductor service stop`."""

import click

from conductor.commands.options import ids_option
from conductor.commands.service.action import ActionOptions, action_options, run_on_services


@click.command("stop")
@ids_option
@click.option(
    "--reason",
    default="",
    metavar="TEXT",
    help="The reason, shown in status and in the error when an upgrade is refused.",
)
@action_options
def command(common: ActionOptions, *, ids: tuple[str, ...], reason: str) -> int:
    """Drain and stop a service.

    nginx returns 503 for the service, which stays stopped, even after a reboot, until you start it.
    """
    from conductor.change.actions import stop

    return run_on_services(common, "stop", ids, stop(reason))
