"""`conductor run`: run a command in a container of a service."""

import os
import re
import shlex
from pathlib import Path

import click

from conductor.commands.options import config_option, duration, id_option
from conductor.errors import UsageError

_JOB = re.compile(r"[A-Za-z0-9_-]{0,64}")  # it is part of a file name


@click.command("run", context_settings={"allow_interspersed_args": False})
@config_option
@id_option
@click.option("--revision", metavar="REV", help="Use this revision instead of the live one.")
@click.option("--timeout", callback=duration, metavar="DURATION", help="Stop the task after this time; exit code 124.")
@click.option("-e", "--env", "env", multiple=True, metavar="NAME[=VALUE]", help="Set a variable; repeatable.")
@click.option("-i", "--interactive", is_flag=True, help="Pass standard input to the task.")
@click.option("-t", "--tty", is_flag=True, help="Allocate a terminal in the container.")
@click.option("--workdir", metavar="DIR", help="Run in this directory of the container.")
@click.option("--name", default="", metavar="NAME", help="Name the container.")
@click.option("--detach", is_flag=True, help="Start the task, print its container's name, and return.")
@click.option("--job", default="", metavar="KEY", help="Run as the cron job with this key; used in installed crontabs.")
@click.option(
    "--wait-for-docker",
    "docker_wait",
    callback=duration,
    metavar="DURATION",
    help="Wait up to this long for Docker to start.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def command(
    *,
    config: Path,
    service: str,
    revision: str | None,
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

    The exit code is that of the command, or 124 after the timeout, 125 if Conductor could not run the command, 126 if it
    is not executable, 127 if it does not exist.
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
        raise UsageError(f"cannot use job key {job!r}: it may have at most 64 letters, digits, - and _")
    if not all(map(_is_text, (*command, *env))):
        raise UsageError("cannot pass an argument to the task: it is not UTF-8, which Docker requires")
    task = Task(
        service=service,
        kind="cron" if job else "task",
        command=command,
        revision=revision,
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
    return run(context, task, docker_wait_seconds=docker_wait or 0.0)


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
        raise UsageError("cannot set a variable: its name is missing", "write -e NAME=VALUE")
    return {name: value for name, value in values.items() if value is not None}


def _is_text(word: str) -> bool:
    """Return False when the argument is not UTF-8: Python then keeps its bytes as lone surrogates."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True
