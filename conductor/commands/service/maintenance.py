"""`conductor service maintenance`: nginx answers for a service while its containers keep running."""

import re

import click

from conductor.commands.options import id_option
from conductor.commands.service.action import ActionOptions, action_options, run_on_services
from conductor.commands.variables import CommandLineOnly
from conductor.errors import UsageError

MAX_CHARACTERS = 500
# No control characters, line separators, or bytes that are not valid UTF-8, which Python reads as surrogates.
_ONE_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def _one_line(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Refuse a message that does not fit into a page and a line of `status`. A click callback."""
    if value is not None and not (_ONE_LINE.fullmatch(value) and len(value) <= MAX_CHARACTERS):
        raise click.BadParameter(f"must be text on one line of at most {MAX_CHARACTERS} characters")
    return value


@click.command("maintenance")
@id_option
@click.option(
    "--message",
    cls=CommandLineOnly,
    callback=_one_line,
    metavar="TEXT",
    help="The text on the page. Default: the current text, or a generic one if the service is not in maintenance.",
)
@click.argument("state", type=click.Choice(["on", "off"]))
@action_options
def command(common: ActionOptions, *, service: str, message: str | None, state: str) -> int:
    """Start or end maintenance (503 with a maintenance page).

    While nginx returns the page, the containers keep running, and supervise keeps replacing failed ones. Maintenance lasts
    until it is turned off, even after an upgrade or a reboot. To show your own page, see "conductor help maintenance".
    """
    from conductor.change.actions import maintenance_off, maintenance_on

    if state == "off" and message is not None:
        raise UsageError("cannot use --message with off: the message is shown only during maintenance")
    make = maintenance_off if state == "off" else maintenance_on(message)
    return run_on_services(common, "maintenance", [service], make, state)
