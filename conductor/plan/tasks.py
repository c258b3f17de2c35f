"""What a one-off task is: a command in the same image and configuration as a service (pure)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from conductor.definitions.model import Definition, Logging
from conductor.definitions.scalars import Secret
from conductor.plan.container_spec import LABEL, ContainerSpec, container_spec
from conductor.plan.values import Kind, Release

GENERATE = "generate-cron"  # the job of a container that prints a crontab: it has a time limit, whoever made it
GENERATE_SECONDS = 60.0


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A wish. `env` is over that of the service; `job` is the key of a cron job, or empty; `timeout` in seconds."""

    service: str
    kind: Kind
    command: tuple[str, ...]
    revision: str | None = None
    env: Mapping[str, str] = {}
    workdir: str | None = None
    name: str = ""
    timeout: float | None = None
    tty: bool = False
    stdin: bool = False
    detach: bool = False
    job: str = ""


def task_spec(
    task: Task,
    definition: Definition,
    release: Release,
    environment: Mapping[str, str | Secret],
    *,
    instance: str,
    network: str,
    change: str,
    logging: Logging | None = None,
) -> ContainerSpec:
    """Its container: that of the service, without an address. `change` tells it apart from all others, `logging` is instead of the
    service's."""
    spec = container_spec(
        definition, msgspec.structs.replace(release, change=change), {**environment, **task.env}, instance=instance,
        network=network, kind=task.kind, name=task.kind, command=task.command,
    )  # fmt: skip
    more: dict[str, Any] = {"tty": task.tty, "stdin": task.stdin}
    if task.name:
        more["name"] = task.name
    if task.workdir:
        more["workdir"] = task.workdir
    if logging:
        more["logging"] = logging
    if task.job:
        more["labels"] = {**spec.labels, f"{LABEL}job": task.job}
    return msgspec.structs.replace(spec, **more)
