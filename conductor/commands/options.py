"""Options that several verbs share, worded once."""

from pathlib import Path

import click

from conductor import DEFINITIONS


def duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """A callback: seconds from `30s`, `5m`, or a bare number of seconds; None when the option is not there."""
    from conductor.definitions.scalars import Seconds

    if value is None:
        return None
    try:
        return Seconds.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _complete_ids(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from conductor.definitions.load import load
    from conductor.errors import ConductorError

    try:
        known = load(Path(ctx.params.get("config") or DEFINITIONS)).ids
    except ConductorError:
        return []  # a shell's completion is no place for an error
    return [i for i in known if i.startswith(incomplete)]


def _one(_ctx: click.Context, _param: click.Parameter, ids: tuple[str, ...]) -> str | None:
    """click alone would take the last of several, and say nothing."""
    if len(ids) > 1:
        raise click.UsageError(f"cannot do this to several services at once: write --id once, not {len(ids)} times")
    return ids[0] if ids else None


config_option = click.option(
    "--config",
    envvar="CONDUCTOR_CONFIG",
    default=DEFINITIONS,
    show_default=True,
    show_envvar=True,
    metavar="PATH",
    type=click.Path(path_type=Path, readable=False),  # reading it says more
    help="The definitions file.",
)
ids_option = click.option(
    "--id", "ids", multiple=True, required=True, shell_complete=_complete_ids, help="The service's id; repeatable."
)
id_option = click.option(
    "--id",
    "service",
    multiple=True,
    callback=_one,
    required=True,
    shell_complete=_complete_ids,
    help="The service's id.",
)
wait_option = click.option(
    "--wait", "wait_seconds", callback=duration, default="0", metavar="D", help="Wait for a busy service."
)
optional_id_option = click.option(
    "--id", "service", multiple=True, callback=_one, shell_complete=_complete_ids, help="Only this service."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output on stdout.")
