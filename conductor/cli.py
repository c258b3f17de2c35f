"""The command line: the table of commands, the one place that reports errors, and the exit codes."""

import contextlib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from conductor.commands.completion import VARIABLE
from conductor.commands.options import verbosity_options
from conductor.commands.suggestions import SuggestingGroup, suggestion
from conductor.commands.usage import usage_error
from conductor.commands.variables import name_variables
from conductor.errors import ConductorError, UsageError, is_text
from conductor.output import verbosity
from conductor.output.streams import write_stderr, write_stdout
from conductor.version import version

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
        "maintenance": "conductor.commands.service.maintenance:command",
        "logs": "conductor.commands.service.logs:command",
        "list": "conductor.commands.service.list:command",
        "status": "conductor.commands.service.status:command",
        "history": "conductor.commands.service.history:command",
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
        "notify": "conductor.commands.config.notify:command",
        "export": "conductor.commands.config.export:command",
        "sync": "conductor.commands.config.sync:command",
    },
}
COMMANDS = {
    "run": "conductor.commands.run:command",
    "console": "conductor.commands.console:command",
    "supervise": "conductor.commands.supervise:group",
    "doctor": "conductor.commands.doctor:command",
    "gc": "conductor.commands.gc:command",
    "web": "conductor.commands.web:command",
    "completion": "conductor.commands.completion:command",
    "help": "conductor.commands.help:command",
}
HELP = {
    "service": "Deploy, change and inspect services.",
    "cron": "Install, remove and list crontabs.",
    "nginx": "Install and show the files that the host's nginx includes.",
    "config": "Check, print, export and copy the definitions file.",
}
TASKS = {"run", "console"}
TASK_NOT_RUN = 125  # their exit code when Conductor fails; any other is that of the task


class LazyGroup(SuggestingGroup):
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
        return None if place is None else _imported(place, self.name or "", cmd_name)


class Root(SuggestingGroup):
    """The `conductor` command itself."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all groups and commands."""
        return [*GROUPS, *COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a group, or import a command."""
        if cmd_name in COMMANDS:
            return _imported(COMMANDS[cmd_name], cmd_name)
        return LazyGroup(cmd_name, GROUPS[cmd_name], HELP[cmd_name]) if cmd_name in GROUPS else None

    def suggested(self, ctx: click.Context, name: str) -> list[str]:
        """Return `service status` for `status`, otherwise the nearest name of all commands."""
        exact = [f"{group} {name}" for group, places in GROUPS.items() if name in places]
        full = {word: f"{group} {word}" for group, places in reversed(GROUPS.items()) for word in places}
        full |= {word: word for word in self.list_commands(ctx)}
        found = suggestion(name, full)
        return exact or ([full[found]] if found else [])


def _imported(place: str, *path: str) -> click.Command:
    """Import a command, and add `--verbose`, `--quiet` and the variables of its options."""
    module, _, name = place.partition(":")
    command: click.Command = getattr(importlib.import_module(module), name)
    if not any(param.name == "verbose" for param in command.params):
        for one in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
            one.params += verbosity_options()
        name_variables(command, path)
    return command


def _print_version(context: click.Context, _: click.Parameter, given: bool) -> None:
    if given and not context.resilient_parsing:
        write_stdout(f"conductor {version()}")
        context.exit()


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Common tasks and exit codes: conductor help commands. All manual pages: conductor help.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Show the version and exit.",
)  # fmt: skip
def conductor() -> None:
    """Deploy containers on this host behind nginx, without downtime."""


conductor.params += verbosity_options()


def run(argv: Sequence[str], *, root: click.Command = conductor, reports: Path | None = None) -> int:
    """Run one command line, report any error, and return the exit code. `reports` is the directory of bug reports."""
    verbosity.choose(verbosity.Verbosity.NORMAL)
    try:
        _refuse_bytes(argv)
        result = root.main(args=list(argv), prog_name="conductor", standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except click.exceptions.Exit as exited:
        code = exited.exit_code
    except SystemExit:
        code = 0  # click exits this way when the reader of --help has closed the pipe
    except Exception as error:  # noqa: BLE001 (the error boundary)
        if VARIABLE in os.environ:
            return 1  # the shell completes a word: anything printed would appear in the command line
        code = _report(argv, error, reports)
        if next((word for word in argv if not word.startswith("-")), "") in TASKS:
            code = max(code, TASK_NOT_RUN)
    _flush()
    return code


def _refuse_bytes(argv: Sequence[str]) -> None:
    """Raise for an argument that is not UTF-8: Python then keeps its bytes as lone surrogates, which no file of Conductor's and no
    request to Docker can have."""
    for number, word in enumerate(argv, 1):
        if not is_text(word):
            raise UsageError(f"cannot read the command line: argument {number} is not UTF-8")


def _report(argv: Sequence[str], error: Exception, reports: Path | None) -> int:
    match error:
        case click.exceptions.Abort():
            return INTERRUPTED
        case click.exceptions.NoArgsIsHelpError():  # the help of a group that was called without a command
            write_stderr(error.format_message())
            return error.exit_code
        case click.BadParameter(param=click.Option() as option, ctx=click.Context() as context) if (
            context.get_parameter_source(option.name or "") is ParameterSource.ENVIRONMENT
        ):
            return _print(usage_error(error).within(hint=f"the value comes from the variable {option.envvar}"))
        case click.ClickException():
            return _print(usage_error(error))
        case ConductorError() | OSError():
            from conductor.commands.action import reported

            return _print(reported(error))
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
