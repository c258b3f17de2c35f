"""`conductor service logs`: show the output of existing and removed replicas of a service."""

import re
from pathlib import Path

import click

from conductor.commands import candidates
from conductor.commands.action import query_context
from conductor.commands.options import config_option, id_option, json_option, since_option

DEFAULT_TAIL = 100  # lines of each replica
ALL = -1


def _pattern(_ctx: click.Context, _param: click.Parameter, value: str | None) -> re.Pattern[str] | None:
    try:
        return None if value is None else re.compile(value)
    except re.error as error:
        raise click.BadParameter(f"{value!r} is not a valid regular expression: {error}") from error


def _tail(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Return `ALL` for all lines, and None when the option is absent."""
    if value is None or value == "all":
        return None if value is None else ALL
    if not (value.isascii() and value.isdigit()):
        raise click.BadParameter(f"{value!r} is neither a number of lines nor all")
    return int(value)


@click.command("logs")
@config_option
@id_option
@click.option(
    "-f", "--follow", is_flag=True, help="Print new lines as they arrive, until Ctrl-C. This includes new replicas."
)
@since_option
@click.option(
    "--tail", callback=_tail, metavar="N|all",
    help=f"Show the last N lines of each replica, which can be more than N in total. With --follow, 0 shows only new lines. "
    f"Default: {DEFAULT_TAIL}, or all with --since or --grep.",
)  # fmt: skip
@click.option(
    "--grep",
    "pattern",
    callback=_pattern,
    metavar="PATTERN",
    help="Show only lines that match this Python regular expression.",
)
@click.option(
    "--release", "revision", default="", metavar="REV", shell_complete=candidates.logged_revisions,
    help="Show only this revision. The first few characters are enough.",
)  # fmt: skip
@json_option
def command(
    *,
    config: Path,
    service: str,
    follow: bool,
    since: str,
    tail: int | None,
    pattern: re.Pattern[str] | None,
    revision: str,
    as_json: bool,
) -> int:
    """Show the output of a service's replicas.

    Lines are sorted by time. Recently removed replicas are included: Conductor keeps the last 2,000 lines of each. Secrets
    are redacted, and control characters are escaped.
    """
    from conductor.logs.follow import Follower
    from conductor.logs.printed import LogPrinter
    from conductor.logs.service_logs import Selection, ServiceLogs
    from conductor.output.streams import write_notice, write_stderr

    warnings: list[str] = []

    def warn(sentence: str) -> None:
        warnings.append(sentence)
        write_stderr(f"warning: {sentence}")

    if tail is None and not since and pattern is None:
        tail = DEFAULT_TAIL
    definitions, context = query_context(config, "service logs")
    selection = Selection(since=since, tail=None if tail == ALL else tail, revision=revision)
    logs = ServiceLogs(context, definitions, service, selection)
    if missing := logs.resolve(follow=follow):
        write_notice(missing)
    printer = LogPrinter(service, pattern, as_json=as_json)
    if not all(map(printer.print, logs.history(warn))):
        return 0
    if follow:
        all(map(printer.print, Follower(context.runtime, logs, warn).entries()))
    elif not printer.found and not warnings and tail != 0:
        write_notice(f"{service} has no log lines" + (" that match" if pattern or since or revision else ""))
    return 1 if warnings and not follow else 0
