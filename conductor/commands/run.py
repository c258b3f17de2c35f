"""`conductor run` and `conductor console`: somebody's command in the image and configuration of a service."""

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.options import config_option, duration, id_option
from conductor.errors import UsageError

if TYPE_CHECKING:
    from conductor.plan.tasks import Task

_JOB = re.compile(r"[A-Za-z0-9_-]{0,64}")  # it is part of a file's name
_revision_option = click.option("--revision", help="Another revision than the live one.")


@click.command("run", context_settings={"allow_interspersed_args": False})
@config_option
@id_option
@_revision_option
@click.option("--timeout", callback=duration, metavar="D", help="Stop it after this time, with exit code 124.")
@click.option("-e", "--env", "env", multiple=True, metavar="K[=V]", help="A variable, over those of the service.")
@click.option("-i", "--interactive", is_flag=True, help="Pass standard input on also when it is a terminal.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("--workdir", metavar="DIR", help="The directory inside the container.")
@click.option("--name", default="", help="The container's name.")
@click.option("--detach", is_flag=True, help="Print the container's name and leave it to itself.")
@click.option("--job", default="", metavar="KEY", help="The cron job that this is a run of (conductor cron install).")
@click.option("--wait-for-docker", "docker_wait", callback=duration, metavar="D", help="Wait for a daemon to come up.")
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
    """Run a command in a container of a service: same image, environment, secrets, volumes, network, user and limits.

    Options end at the first word of the command. Exit code: that of the command; 124 when its time was over, 125 when
    it could not be run, 126 or 127 when there is no such command.
    """
    from conductor.plan.tasks import Task

    if not command or not command[0]:
        raise UsageError("cannot run nothing: write the command after the options")
    if tty and not (os.isatty(0) and os.isatty(1)):
        raise UsageError("cannot give it a terminal: there is none here", "leave -t out")
    if detach and (tty or interactive or timeout is not None or job):
        raise UsageError(
            "cannot leave a task to itself and see to it: --detach goes without -t, -i, --timeout and --job"
        )
    if timeout == 0:
        raise UsageError("cannot run it in no time: --timeout must be longer than 0")
    if not _JOB.fullmatch(job):
        raise UsageError(f"cannot use job key {job!r}: write letters, digits, - and _, at most 64")
    if not all(map(_is_text, (*command, *env))):
        raise UsageError("cannot pass a word on that is not UTF-8: Docker takes no other")
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
        stdin=not detach and (tty or interactive or not os.isatty(0)),
        detach=detach,
        job=job,
    )
    return _perform(config, f"run --id {service} {shlex.join(command)}", task, docker_wait or 0.0)


@click.command("console")
@config_option
@id_option
@_revision_option
def console(*, config: Path, service: str, revision: str | None) -> int:
    """Open the service's console: the command `console` of its definition, in the live revision."""
    from conductor.plan.tasks import Task

    terminal = os.isatty(0) and os.isatty(1)
    task = Task(service=service, kind="console", command=(), revision=revision, tty=terminal, stdin=True)
    return _perform(config, f"console --id {service}", task, 0.0)


def _environment(words: tuple[str, ...]) -> dict[str, str]:
    """`K=V`, or `K` with the value that it has here; one that has none here is left out."""
    pairs = (word.partition("=") for word in words)
    values = {name: value if equals else os.environ.get(name) for name, equals, value in pairs}
    if "" in values:
        raise UsageError("cannot set a variable without a name: write -e NAME=VALUE")
    return {name: value for name, value in values.items() if value is not None}


def _is_text(word: str) -> bool:
    """Python keeps bytes that are none as lone surrogates."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _perform(config: Path, words: str, task: "Task", docker_wait: float) -> int:
    from conductor.tasks.context import open_task_context
    from conductor.tasks.task import run

    return run(open_task_context(config, words), task, docker_wait_seconds=docker_wait)
