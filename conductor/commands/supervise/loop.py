"""`conductor supervise` without a subcommand: keep services running."""

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor import DEFINITIONS
from conductor.commands.options import config_option, state_dir_option
from conductor.commands.suggestions import SuggestingGroup
from conductor.commands.variables import CommandLineOnly

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.host import Host
    from conductor.state.history import HistoryWriter
    from conductor.supervise.edge_loop import EdgeParts


@click.group("supervise", cls=SuggestingGroup, invoke_without_command=True)
@config_option
@click.option("--once", cls=CommandLineOnly, is_flag=True, help="Run one pass and exit.")
@state_dir_option
@click.option("--print-unit", cls=CommandLineOnly, is_flag=True, help="Print a systemd unit file and exit.")
@click.pass_context
def group(context: click.Context, *, config: Path, once: bool, state_dir: Path, print_unit: bool) -> int:
    """Replace failed containers, and keep the right number running."""
    context.ensure_object(dict)["config"] = config
    if context.invoked_subcommand is not None:
        return 0
    if print_unit:
        print_unit_file(config)
        return 0
    from conductor.commands.context import make_context, make_history
    from conductor.supervise.history import COMMAND
    from conductor.supervise.main import supervise

    def history(host: "Host") -> "HistoryWriter":
        return make_history(host, COMMAND, yields=True)

    return supervise(config, state_dir, make_context, history, _make_edge, once=once)


def _make_edge(context: "Context") -> "EdgeParts":
    from conductor.commands.fleet import make_edge

    return make_edge(context)


def print_unit_file(config: Path) -> None:
    """Print the unit, for this definitions file. Warn if it cannot be started on this host."""
    from importlib.resources import files

    from conductor.definitions.checks import missing_command
    from conductor.output.streams import write_notice, write_stdout

    text = files("conductor").joinpath("templates/conductor-supervise.service").read_text()
    if str(config) != DEFINITIONS:
        text = re.sub(
            r"(?m)^(ExecStart=.*)$", lambda line: f"{line[1]} --config {shlex.quote(str(config.absolute()))}", text
        )
    write_stdout(text, end="")
    program = text.partition("\nExecStart=")[2].partition(" ")[0]
    if warning := missing_command(program, "the unit cannot start"):
        write_notice(f"warning: {warning}")
