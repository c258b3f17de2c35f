"""`conductor service maintenance`: nginx answers for a service while its containers keep running."""

import re
from pathlib import Path

import click

from conductor.commands.options import (
    config_option,
    id_option,
    json_option,
    plan_option,
    wait_option,
    without_edge_option,
)
from conductor.commands.service.action import run_on_services
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
@config_option
@id_option
@click.option(
    "--message",
    cls=CommandLineOnly,
    callback=_one_line,
    metavar="TEXT",
    help="The text of the page. Default: the current text, or a generic one if the service is not in maintenance.",
)
@plan_option
@wait_option
@without_edge_option
@json_option
@click.argument("state", type=click.Choice(["on", "off"]))
def command(
    *,
    config: Path,
    service: str,
    message: str | None,
    plan_only: bool,
    wait_seconds: float,
    without_edges: tuple[str, ...],
    as_json: bool,
    state: str,
) -> int:
    """Start or end maintenance: nginx returns 503 with a page.

    The containers keep running, and supervise keeps replacing failed ones. Maintenance lasts until it is turned off, even
    after an upgrade or a reboot. To show your own page, see "conductor help maintenance".
    """
    from conductor.change.actions import maintenance_off, maintenance_on

    if state == "off" and message is not None:
        raise UsageError("cannot use --message with off: the message is shown only in maintenance")
    make = maintenance_off if state == "off" else maintenance_on(message)
    return run_on_services(
        config, "maintenance", [service], make, options=state, wait_seconds=wait_seconds, as_json=as_json,
        plan_only=plan_only, without_edges=without_edges,
    )  # fmt: skip
