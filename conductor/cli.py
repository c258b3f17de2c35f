"""The command line: the table of commands, the one place that reports errors, and the exit codes."""

import contextlib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from conductor import __version__
from conductor.errors import ConductorError, UsageError
from conductor.output.streams import write_stderr

INTERRUPTED = 130
# Each command is a module and a name in it. It is imported when it is called, so that a command loads only what it needs.
GROUPS = {
    "service": {
        "upgrade": "conductor.commands.service.upgrade:command",
        "rollback": "conductor.commands.service.rollback:command",
        "start": "conductor.commands.service.start:command",
        "stop": "conductor.commands.service.stop:command",
        "restart": "conductor.commands.service.restart:command",
        "scale": "conductor.commands.service.scale:command",
        "list": "conductor.commands.service.list:command",
        "status": "conductor.commands.service.status:command",
    },
    "cron": {
        "install": "conductor.commands.cron.install:command",
        "show": "conductor.commands.cron.show:command",
        "remove": "conductor.commands.cron.remove:command",
        "list": "conductor.commands.cron.list:command",
    },
    "nginx": {
        "install": "conductor.commands.nginx.install:command",
        "show": "conductor.commands.nginx.show:command",
    },
    "config": {
        "check": "conductor.commands.config.check:command",
        "show": "conductor.commands.config.show:command",
        "schema": "conductor.commands.config.schema:command",
        "example": "conductor.commands.config.example:command",
    },
}
COMMANDS = {
    "run": "conductor.commands.run:command",
    "console": "conductor.commands.console:command",
    "supervise": "conductor.commands.supervise:group",
    "help": "conductor.commands.help:command",
}
HELP = {
    "service": "Deploy, change and inspect services.",
    "cron": "Install, remove and list the crontabs of services.",
    "nginx": "Write the files that the host's nginx includes.",
    "config": "Check and print the definitions file.",
}
TASKS = {"run", "console"}
TASK_NOT_RUN = 125  # their exit code when Conductor fails; any other is that of the task


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def __init__(self, name: str, places: Mapping[str, str], help_text: str) -> None:
        super().__init__(name, help=help_text, no_args_is_help=True)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        place = self._places.get(cmd_name)
        return None if place is None else _imported(place)


class Root(click.Group):
    """The `conductor` command itself."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all groups and commands."""
        return [*GROUPS, *COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a group, or import a command."""
        if cmd_name in COMMANDS:
            return _imported(COMMANDS[cmd_name])
        return LazyGroup(cmd_name, GROUPS[cmd_name], HELP[cmd_name]) if cmd_name in GROUPS else None


def _imported(place: str) -> click.Command:
    module, _, name = place.partition(":")
    command: click.Command = getattr(importlib.import_module(module), name)
    return command


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="conductor %(version)s")
def conductor() -> None:
    """Deploy containers on this host without dropping a request."""


def run(argv: Sequence[str], *, root: click.Command = conductor, reports: Path | None = None) -> int:
    """Run one command line, report any error, and return the exit code. `reports` is the directory of bug reports."""
    try:
        result = root.main(args=list(argv), prog_name="conductor", standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except click.exceptions.Exit as exited:
        code = exited.exit_code
    except SystemExit:
        code = 0  # click exits this way when the reader of --help has closed the pipe
    except Exception as error:  # noqa: BLE001 (the error boundary)
        code = _report(argv, error, reports)
        if next(iter(argv), "") in TASKS:
            code = max(code, TASK_NOT_RUN)
    _flush()
    return code


def _report(argv: Sequence[str], error: Exception, reports: Path | None) -> int:
    match error:
        case click.exceptions.Abort():
            return INTERRUPTED
        case click.ClickException():
            return _print(UsageError(error.format_message()))
        case OSError():
            from conductor.commands.action import system_error

            return _print(system_error(error))
        case ConductorError():
            return _print(error)
        case _:
            from conductor.bug_report import DIRECTORY, bug

            return _print(bug(error, argv, reports or DIRECTORY))


def _print(error: ConductorError) -> int:
    from conductor.output.printers import error_text

    write_stderr(error_text(error.sentence, error.details, error.hint))
    return error.code


def _flush() -> None:
    """Flush both streams now: Python would print a traceback for a closed pipe at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
