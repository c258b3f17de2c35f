"""`conductor console`: open the console of a service."""

import os
from pathlib import Path

import click

from conductor.commands.options import config_option, id_option, revision_option


@click.command("console")
@config_option
@id_option
@revision_option
def command(*, config: Path, service: str, revision: str | None) -> int:
    """Open a service's console.

    In a new container of the live revision, run the command from the definition's `console` key.
    """
    from conductor.plan.tasks import Task
    from conductor.tasks.context import make_task_context
    from conductor.tasks.task import run

    terminal = os.isatty(0) and os.isatty(1)
    task = Task(service=service, kind="console", command=(), revision=revision, tty=terminal, stdin=True)
    return run(make_task_context(config, f"console --id {service}"), task)
