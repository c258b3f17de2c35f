"""Options that several commands share."""

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from conductor import DEFINITIONS, STATE_DIR
from conductor.commands import candidates
from conductor.commands.variables import CommandLineOnly
from conductor.errors import UsageError
from conductor.output import verbosity

FC = TypeVar("FC", bound=Callable[..., Any] | click.Command)


class WholeNumber(click.IntRange):
    """A whole number in a range; the error quotes what was written."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            numbers = f"of at least {self.min}" if self.max is None else f"from {self.min} to {self.max}"
            self.fail(f"expected a whole number {numbers}, found {value!r}", param, ctx)


def duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of `30s`, `5m` or a bare number; None when the option is absent. A click callback."""
    from conductor.definitions.scalars import Seconds

    if value is None:
        return None
    try:
        return Seconds.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _since(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str:
    """Return the time stamp of `10m` (ago) or of an RFC 3339 time; empty without the option. A click callback."""
    from conductor.clock import Clock
    from conductor.definitions.scalars import Seconds

    clock = Clock()
    if value is None:
        return ""
    with contextlib.suppress(ValueError, OverflowError):
        return clock.stamp(value)
    with contextlib.suppress(ValueError, OverflowError):
        return clock.stamp_of(clock.wall() - Seconds.parse(value))
    raise click.BadParameter(f"{value!r} is neither a duration such as 10m nor a time such as 2026-01-31T08:00:00Z")


def _choose(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Set the verbosity. The last option on the command line counts, and a variable only without such an option."""
    from_variable = ctx.get_parameter_source(param.name or "") is ParameterSource.ENVIRONMENT
    if value and not (from_variable and verbosity.chosen() is not verbosity.Verbosity.NORMAL):
        verbosity.choose(verbosity.Verbosity(param.name))


def verbosity_options() -> tuple[click.Option, ...]:
    """Return new options `--verbose` and `--quiet`."""
    texts = {
        "verbose": "Print each Docker call with its duration on stderr.",
        "quiet": "Suppress progress and notices, and a successful command's warnings.",
    }
    return tuple(
        click.Option(
            [f"--{name}"], is_flag=True, expose_value=False, callback=_choose, envvar=f"CONDUCTOR_{name.upper()}",
            help=text,
        )
        for name, text in texts.items()
    )  # fmt: skip


def _only_one(ctx: click.Context, _param: click.Parameter, ids: tuple[str, ...]) -> str | None:
    """Refuse a repeated --id, of which click would silently use the last."""
    if len(ids) > 1:
        words = f"cannot run {ctx.command_path} on several services: --id was given {len(ids)} times"
        raise UsageError(words, "repeat the command for each service")
    return ids[0] if ids else None


config_option = click.option(
    "--config",
    envvar="CONDUCTOR_CONFIG",
    default=DEFINITIONS,
    show_default=True,
    show_envvar=True,
    metavar="PATH",
    type=click.Path(path_type=Path, readable=False),  # loading it gives a better error than click's check
    help="The definitions file.",
)
state_dir_option = click.option(
    "--state-dir",
    type=click.Path(
        path_type=Path, readable=False
    ),  # click checks the default too, and `doctor` reports what it cannot read
    envvar="CONDUCTOR_STATE_DIR",
    default=STATE_DIR,
    show_default=True,
    show_envvar=True,
    help="The state directory. If the definitions file is invalid, Conductor uses the copy of `host:` stored there. Set this "
    "option only if `host.state_dir` is not the default.",
)
ids_option = click.option(
    "--id", "ids", metavar="ID", multiple=True, required=True, cls=CommandLineOnly, shell_complete=candidates.services,
    help="The service. Repeat the option to change several services together.",
)  # fmt: skip
id_option = click.option(
    "--id", "service", metavar="ID", multiple=True, callback=_only_one, required=True, cls=CommandLineOnly, shell_complete=candidates.services,
    help="The service.",
)  # fmt: skip
optional_id_option, export_id_option = (
    click.option(
        "--id", "service", metavar="ID", multiple=True, callback=_only_one, cls=CommandLineOnly,
        shell_complete=candidates.services, help=f"{verb} only this service.",
    )
    for verb in ("Show", "Export")
)  # fmt: skip
revision_option = click.option(
    "--revision", cls=CommandLineOnly, metavar="REV", shell_complete=candidates.revisions,
    help="Use this revision instead of the live one.",
)  # fmt: skip
wait_option = click.option(
    "--wait", "wait_seconds", callback=duration, default="0", metavar="DURATION",
    help="Wait up to this long for another command on the service to finish, for example 5m.",
)  # fmt: skip
without_edge_option = click.option(
    "--without-edge", "without_edges", metavar="NODE", multiple=True, cls=CommandLineOnly,
    help="In a fleet, continue without an edge that is not responding. First make sure that no client uses that edge. Can be repeated.",
)  # fmt: skip
plan_option = click.option(
    "--plan", "plan_only", cls=CommandLineOnly, is_flag=True,
    help="Print the steps, the changes to nginx's files and the changes to the definition that would take effect, and exit.",
)  # fmt: skip
since_option = click.option(
    "--since", callback=_since, metavar="WHEN", help="Start at this time: 10m (ago), or 2026-01-31T08:00:00Z."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def schema_option(place: str) -> Callable[[FC], FC]:
    """Return the option that prints the JSON Schema of a document and ends. `place` is the module and name of its type."""

    def show(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        if not value or ctx.resilient_parsing:
            return
        from conductor.output.streams import write_stdout
        from conductor.output.tables import as_document
        from conductor.snapshot.schemas import schema

        module, _, name = place.partition(":")
        write_stdout(as_document(schema(getattr(importlib.import_module(module), name))))
        ctx.exit()

    return click.option(
        "--schema", is_flag=True, is_eager=True, expose_value=False, callback=show,
        help="Print the JSON Schema of the --json output.",
    )  # fmt: skip
