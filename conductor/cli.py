"""The command line: lazily imported verbs, the one place that tells errors, and the exit codes of DESIGN section 4."""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from conductor import __version__
from conductor.errors import ConductorError
from conductor.output.streams import remark

BUG, INTERRUPTED = 3, 130
REPORTS = Path("/var/lib/conductor/logs")  # else the directory for temporary files
# Verb → module and name of its command; imported when used, so that each verb pays only for the libraries it needs.
VERBS = {
    "service": {
        "upgrade": "conductor.commands.service.upgrade:command",
        "rollback": "conductor.commands.service.verbs:rollback",
        "start": "conductor.commands.service.verbs:start",
        "stop": "conductor.commands.service.verbs:stop",
        "restart": "conductor.commands.service.verbs:restart",
        "scale": "conductor.commands.service.verbs:scale",
        "list": "conductor.commands.service.list:command",
        "status": "conductor.commands.service.status:command",
    },
    "cron": {
        "install": "conductor.commands.cron.actions:install",
        "show": "conductor.commands.cron.actions:show",
        "remove": "conductor.commands.cron.actions:remove",
        "list": "conductor.commands.cron.list:command",
    },
    "nginx": {"install": "conductor.commands.nginx.install:command", "show": "conductor.commands.nginx.show:command"},
}
COMMANDS = {
    "run": "conductor.commands.run:command",
    "console": "conductor.commands.run:console",
    "supervise": "conductor.commands.supervise:group",
    "config": "conductor.commands.config:config",
    "help": "conductor.commands.help:command",
}
TASKS = {"run", "console"}
TASK_NOT_RUN = 125  # what they exit with when Conductor itself failed: other codes are the task's
HELP = {
    "service": "Deploy and look at services.",
    "cron": "The app's own crontab, with each job wrapped in conductor run.",
    "nginx": "The files that the host's nginx includes.",
}


class LazyGroup(click.Group):
    """A group whose verbs are modules that are imported when called."""

    def __init__(self, name: str) -> None:
        super().__init__(name, help=HELP[name], no_args_is_help=True)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(VERBS[str(self.name)])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb."""
        place = VERBS[str(self.name)].get(cmd_name)
        return None if place is None else _imported(place)


def _imported(place: str) -> click.Command:
    module, _, name = place.partition(":")
    command: click.Command = getattr(importlib.import_module(module), name)
    return command


class Root(click.Group):
    """`conductor` itself."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All groups."""
        return [*VERBS, *COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imported when it is called."""
        if cmd_name in COMMANDS:
            return _imported(COMMANDS[cmd_name])
        return LazyGroup(cmd_name) if cmd_name in VERBS else None


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="conductor %(version)s")
def conductor() -> None:
    """Deploy containers on this machine without dropping a request."""


def run(argv: Sequence[str]) -> int:
    """Run one command line; every outcome becomes an exit code, every error a sentence."""
    try:
        outcome = conductor.main(args=list(argv), prog_name="conductor", standalone_mode=False)
        code = outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as exited:
        code = exited.exit_code
    except SystemExit:
        code = 0  # click's own answer to a reader of --help who has left
    except Exception as error:  # noqa: BLE001 (the boundary: every end is told)
        code = _failed(argv, error)
        if next(iter(argv), "") in TASKS:
            code = max(code, TASK_NOT_RUN)
    _close_quietly()
    return code


def _failed(argv: Sequence[str], error: Exception) -> int:
    match error:
        case click.exceptions.Abort():
            return INTERRUPTED
        case click.ClickException():
            remark(f"error: {error.format_message()}")
            return 2
        case OSError():
            from conductor.commands.action import cannot_go_on

            return _tell(cannot_go_on(error))
        case ConductorError():
            return _tell(error)
        case _:  # a bug must become a report and a sentence
            remark(f"error: this is a bug in Conductor{_reported(argv, error)}")
            return BUG


def _tell(error: ConductorError) -> int:
    details = "".join(f"\n  {line}" for line in error.details)
    remark(f"error: {error.sentence}{details}" + (f"\n  {error.hint}" if error.hint else ""))
    return error.code


def _close_quietly() -> None:
    """Flush now, so that a reader who is gone is no traceback at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _reported(argv: Sequence[str], error: Exception) -> str:
    """Where the report is; or, when none can be written, what an author needs first, in one line."""
    import traceback

    try:
        for directory in _report_directories():
            with contextlib.suppress(OSError):
                return f"; please send in the report: {_write_report(directory, argv)}"
    except Exception as second:  # noqa: BLE001 (a second error must not hide the first)
        why = type(second).__name__
    else:
        why = "no directory takes it"
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__} at {last.filename}:{last.lineno} in {last.name}"
    return f": {place} (a report could not be written: {why})"


def _report_directories() -> Iterator[Path]:
    import tempfile

    yield REPORTS
    yield Path(tempfile.gettempdir())  # which raises when there is none


def _write_report(directory: Path, argv: Sequence[str]) -> Path:
    """The traceback and the words of the call in a file; local variables, which may hold secrets, are not in it."""
    import time
    import traceback

    path = directory / f"conductor-bug-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.txt"
    said = f"conductor {__version__}, Python {sys.version}\nconductor {' '.join(argv)}\n\n{traceback.format_exc()}"
    path.touch(0o600, exist_ok=False)
    try:
        path.write_text(said, errors="backslashreplace")
    except OSError:
        path.unlink()
        raise
    return path
