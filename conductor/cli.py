"""The command line: lazily imported verbs, the one place that tells errors, and the exit codes of DESIGN section 4."""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from conductor import __version__
from conductor.errors import ConductorError, Interrupted

BUG, INTERRUPTED = 3, 130
# Verb → module and name of its command; imported when used, so that each verb pays only for the libraries it needs.
VERBS = {
    "service": {
        "upgrade": "conductor.commands.upgrade:command",
        "rollback": "conductor.commands.verbs:rollback",
        "start": "conductor.commands.verbs:start",
        "stop": "conductor.commands.verbs:stop",
        "restart": "conductor.commands.verbs:restart",
        "scale": "conductor.commands.verbs:scale",
        "list": "conductor.commands.service_list:command",
        "status": "conductor.commands.status:command",
    },
    "nginx": {"install": "conductor.commands.nginx_install:command", "show": "conductor.commands.nginx_show:command"},
}
HELP = {"service": "Deploy and look at services.", "nginx": "The files that the host's nginx includes."}


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
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


class Root(click.Group):
    """`conductor` itself."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All groups."""
        return [*VERBS, "config"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A lazy group, or the group `config`."""
        if cmd_name == "config":
            group: click.Group = importlib.import_module("conductor.commands.config").config
            return group
        return LazyGroup(cmd_name) if cmd_name in VERBS else None

    def invoke(self, ctx: click.Context) -> object:
        """Whoever read our output has seen enough: that is no failure (click itself would exit with 1)."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return 0


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
    except click.exceptions.Abort:
        code = INTERRUPTED
    except click.ClickException as error:
        _say(f"error: {error.format_message()}")
        code = 2
    except ConductorError as error:
        _say(_text(error))
        code = error.code if isinstance(error, Interrupted) else error.exit_code
    except Exception:  # noqa: BLE001 (the boundary: a bug must become a report and a sentence)
        report = _write_report(argv)
        _say(f"error: this is a bug in Conductor; please send in the report: {report}")
        code = BUG
    _close_quietly()
    return code


def _text(error: ConductorError) -> str:
    details = "".join(f"\n  {line}" for line in error.details)
    return f"error: {error.sentence}{details}" + (f"\n  {error.hint}" if error.hint else "")


def _say(text: str) -> None:
    try:
        click.echo(text, err=True)
    except OSError:
        return  # nobody reads any more; the exit code still says it


def _close_quietly() -> None:
    """Flush now, so that a reader who is gone is no traceback at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write_report(argv: Sequence[str]) -> str:
    """The traceback and the words of the call in a file; local variables, which may hold secrets, are not in it."""
    import tempfile
    import time

    directory = Path("/var/lib/conductor/logs")
    if not os.access(directory, os.W_OK):
        directory = Path(tempfile.gettempdir())
    path = directory / f"conductor-bug-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.txt"
    words = " ".join(argv)
    try:
        path.touch(0o600, exist_ok=False)
        with path.open("w") as stream:
            stream.write(
                f"conductor {__version__}, Python {sys.version}\nconductor {words}\n\n{traceback.format_exc()}"
            )
    except OSError:
        return f"(could not be written to {path})"
    return str(path)
