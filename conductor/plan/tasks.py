"""One-off tasks: a command in the image and configuration of a service; and the last result of a cron job (pure)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from conductor.definitions.model import Definition, Logging
from conductor.definitions.scalars import Secret
from conductor.plan import labels
from conductor.plan.container_spec import ContainerSpec, container_spec
from conductor.plan.release import Release
from conductor.plan.replica import Kind

GENERATE = "generate-cron"  # the job key of a container that prints a crontab
GENERATE_SECONDS = 60.0  # its time limit
OVERDUE_STOP_SECONDS = 10.0  # for an overdue task, between its stop signal and SIGKILL
KEEP_SECONDS = 60.0  # a `conductor run` that was not killed has removed its container by then
KEEPS_FAILING = 2  # failed runs of a cron job in a row, from which on an operator has to look at it


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task to run. `env` overrides the service's, `job` is the key of a cron job or empty, `timeout` is in seconds. `pull`:
    also if the image is on this host."""

    service: str
    kind: Kind
    command: tuple[str, ...]
    revision: str | None = None
    pull: bool = False
    env: Mapping[str, str] = {}
    workdir: str | None = None
    name: str = ""
    timeout: float | None = None
    tty: bool = False
    stdin: bool = False
    detach: bool = False
    job: str = ""


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """The last run of a cron job. `exit_code` is None while it runs; `output` is the end of both streams, without secrets.

    `skipped` counts the runs that were skipped since it began, because another run was in progress. `failures` counts the
    failed runs since the last successful one.
    """

    service: str
    job: str
    version: int = 1
    revision: str = ""
    began: str = ""
    seconds: float | None = None
    exit_code: int | None = None
    output: str = ""
    skipped: int = 0
    failures: int = 0


def job_locks(service: str, job: str) -> tuple[str, str, str]:
    """Return the names of a job's locks: of its run, of the run that waits, of its last result.

    No service id contains a dot, so none of them is a service's lock.
    """
    run = f"{service}.{job}"
    return run, f"{run}.next", f"{run}.result"


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
    """Return the container of a task: that of the service, without a fixed address.

    `change` is an id of its own. `logging` replaces the service's.
    """
    spec = container_spec(
        definition, release, {**environment, **task.env}, instance=instance, network=network, kind=task.kind,
        change=change, name=task.kind, command=task.command,
    )  # fmt: skip
    name = task.name or spec.name
    more: dict[str, Any] = {
        "name": name,
        "labels": {**spec.labels, labels.NAME: name, labels.JOB: task.job or ""},
        "tty": task.tty,
        "stdin": task.stdin,
    }
    if task.workdir:
        more["workdir"] = task.workdir
    if logging:
        more["logging"] = logging
    return msgspec.structs.replace(spec, **more)


def with_deadline(spec: ContainerSpec, now: float, timeout: float | None) -> ContainerSpec:
    """Return the specification with the task's deadline as a label, in seconds since 1970. Without a `timeout` there is none.

    A label remains when the `conductor run` that enforces the timeout is killed.
    """
    if timeout is None:
        return spec
    deadline = f"{now + timeout + spec.stop.grace:.0f}"
    return msgspec.structs.replace(spec, labels={**spec.labels, labels.DEADLINE: deadline})
