"""`conductor run`: run a command in a container of a service."""

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.options import config_option, duration, id_option, revision_option
from conductor.commands.variables import CommandLineOnly
from conductor.errors import UsageError, is_text

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

JOB_DOCKER_WAIT_SECONDS = 60.0  # a failed job is not retried, and a daemon that is upgraded restarts within seconds
_JOB = re.compile(r"[A-Za-z0-9_-]{0,64}")  # it is part of a file name


class RunCommand(click.Command):
    """A command whose options end at the first word of the task."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[str]]":
        """Offer no option of Conductor's after that word."""
        return [] if ctx.params.get("command") else super().shell_complete(ctx, incomplete)


@click.command("run", cls=RunCommand, context_settings={"allow_interspersed_args": False})
@config_option
@id_option
@revision_option
@click.option(
    "--pull", cls=CommandLineOnly, is_flag=True,
    help="Pull the image even if it is on this host, in case the tag has moved.",
)  # fmt: skip
@click.option(
    "--timeout", callback=duration, metavar="DURATION", help="Stop the task after this time and exit with code 124."
)
@click.option(
    "-e",
    "--env",
    "env",
    cls=CommandLineOnly,
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Set an environment variable. Can be repeated.",
)
@click.option("-i", "--interactive", cls=CommandLineOnly, is_flag=True, help="Pass standard input to the task.")
@click.option("-t", "--tty", cls=CommandLineOnly, is_flag=True, help="Allocate a terminal in the container.")
@click.option("--workdir", cls=CommandLineOnly, metavar="DIR", help="Run in this directory in the container.")
@click.option("--name", cls=CommandLineOnly, default="", metavar="NAME", help="Name the container.")
@click.option(
    "--detach", cls=CommandLineOnly, is_flag=True, help="Start the task, print its container's name, and return."
)
@click.option(
    "--job",
    cls=CommandLineOnly,
    default="",
    metavar="KEY",
    help="Run as the cron job with this key; used in installed crontabs.",
)
@click.option(
    "--wait-for-docker",
    "docker_wait",
    callback=duration,
    metavar="DURATION",
    help="Wait up to this long for Docker to start. Default: 60s for a cron job (5m for @reboot), 0 for other tasks.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND...")
def command(
    *,
    config: Path,
    service: str,
    revision: str | None,
    pull: bool,
    timeout: float | None,
    env: tuple[str, ...],
    interactive: bool,
    tty: bool,
    workdir: str | None,
    name: str,
    detach: bool,
    job: str,
    docker_wait: float | None,
    command: tuple[str, ...],
) -> int:
    """Run a command in a new container of a service.

    The container has the service's image, environment, secrets, volumes, network, user and limits. Options must
    come before COMMAND; all words after it are passed to the command.

    The exit code is that of the command. It is 124 if the command timed out, 125 if Conductor could not run it, 126 if it is
    not executable, and 127 if it does not exist.
    """
    from conductor.plan.tasks import Task
    from conductor.tasks.context import make_task_context
    from conductor.tasks.task import run

    if not command or not command[0]:
        raise UsageError("cannot run a task: the command is missing", f"conductor run --id {service} COMMAND")
    if tty and not (os.isatty(0) and os.isatty(1)):
        raise UsageError("cannot attach a terminal: standard input or output is not a terminal", "run it without -t")
    if detach and (tty or interactive or timeout is not None or job):
        raise UsageError("--detach cannot be combined with -t, -i, --timeout or --job")
    if timeout == 0:
        raise UsageError("cannot use --timeout 0: it must be longer than 0")
    if not _JOB.fullmatch(job):
        raise UsageError(f"cannot use job key {job!r}: it must consist of at most 64 letters, digits, - and _")
    task = Task(
        service=service,
        kind="cron" if job else "task",
        command=command,
        revision=revision,
        pull=pull,
        env=_environment(env),
        workdir=workdir,
        name=name,
        timeout=timeout,
        tty=tty,
        stdin=passes_input(tty=tty, interactive=interactive, job=job),
        detach=detach,
        job=job,
    )
    context = make_task_context(config, f"run --id {service} {shlex.join(command)}")
    return run(context, task, docker_wait_seconds=docker_wait_seconds(docker_wait, job))


def docker_wait_seconds(given: float | None, job: str) -> float:
    """Return how long to wait for Docker: as `given` on the command line, or else `JOB_DOCKER_WAIT_SECONDS` for a cron job."""
    if given is not None:
        return given
    return JOB_DOCKER_WAIT_SECONDS if job else 0.0


def passes_input(*, tty: bool, interactive: bool, job: str) -> bool:
    """Return whether standard input is passed to the task. Otherwise a task would read the rest of the script that calls it.

    Cron's standard input is the text after `%` of a job's line.
    """
    return tty or interactive or (bool(job) and not os.isatty(0))


def _environment(words: tuple[str, ...]) -> dict[str, str]:
    """Return the variables of `NAME=VALUE`, and of `NAME` with the caller's value. An unset one is left out."""
    pairs = (word.partition("=") for word in words)
    values = {name: value if equals else os.environ.get(name) for name, equals, value in pairs}
    if "" in values:
        raise UsageError("cannot set a variable: its name is missing", "use -e NAME=VALUE")
    found = {name: value for name, value in values.items() if value is not None}
    for name, value in found.items():
        if not is_text(value):
            raise UsageError(f"cannot pass variable {name} to the task: it is not UTF-8, which Docker requires")
    return found
