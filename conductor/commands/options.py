"""Options that several commands share."""

from pathlib import Path

import click

from conductor import DEFINITIONS


def duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of `30s`, `5m` or a bare number; None when the option is absent. A click callback."""
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
        ids = load(Path(ctx.params.get("config") or DEFINITIONS)).ids
    except ConductorError:
        return []  # the shell shows no errors while it completes a word
    return [service for service in ids if service.startswith(incomplete)]


def _only_one(_ctx: click.Context, _param: click.Parameter, ids: tuple[str, ...]) -> str | None:
    """Refuse a repeated --id, of which click would silently use the last."""
    if len(ids) > 1:
        raise click.UsageError(f"cannot use several services: this command takes --id once, not {len(ids)} times")
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
ids_option = click.option(
    "--id", "ids", metavar="ID", multiple=True, required=True, shell_complete=_complete_ids,
    help="The service to upgrade. Repeat the option to upgrade several services as one change.",
)  # fmt: skip
id_option = click.option(
    "--id", "service", metavar="ID", multiple=True, callback=_only_one, required=True, shell_complete=_complete_ids,
    help="The service.",
)  # fmt: skip
optional_id_option = click.option(
    "--id", "service", metavar="ID", multiple=True, callback=_only_one, shell_complete=_complete_ids,
    help="Show only this service.",
)  # fmt: skip
revision_option = click.option("--revision", metavar="REV", help="Use this revision instead of the live one.")
wait_option = click.option(
    "--wait", "wait_seconds", callback=duration, default="0", metavar="DURATION",
    help="Wait this long for another command on the service to end, for example 5m.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
