"""`conductor run`: find the release, wait for the job's overlap lock, run the task, and record how it ended."""

import os
import sys

import msgspec

from conductor.definitions.environment import environment
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.output.streams import write_stderr, write_stdout
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.history import Outcome
from conductor.plan.release import Image, Release
from conductor.plan.tasks import Task, task_spec
from conductor.plan.transition import new_release
from conductor.runtime.port import RuntimeUnavailable
from conductor.state.locks import ADDRESSES_SECONDS
from conductor.tasks.attach import AttachedTask, TaskEnd
from conductor.tasks.context import TaskContext, host_name
from conductor.tasks.overlap import exclusive
from conductor.tasks.results import TaskRecord

TIMED_OUT = 124
DOCKER_POLL_SECONDS = 0.5


def run(context: TaskContext, task: Task, *, docker_wait_seconds: float = 0.0) -> int:
    """Run a task and return its exit code, or 124 after its timeout; raise `ConductorError` when it could not be run.

    Wait at most `docker_wait_seconds` for a daemon that does not answer.
    """
    context.cancellation.listen()
    if docker_wait_seconds:
        _await_daemon(context, docker_wait_seconds)
    release, definition = resolve(context, task)
    record = TaskRecord(context, task, release.revision)
    try:
        end = _run(context, task, release, definition, record)
    except ConductorError as error:
        record.failed(error)
        raise
    if end is None:
        return 0
    record.ended(end)
    return end.exit_code


def _await_daemon(context: TaskContext, seconds: float) -> None:
    until = context.clock.monotonic() + seconds
    while True:
        try:
            context.runtime.ping()
        except RuntimeUnavailable:
            if context.clock.monotonic() >= until:
                raise
            context.cancellation.wait(DOCKER_POLL_SECONDS)
        else:
            return


def resolve(context: TaskContext, task: Task) -> tuple[Release, Definition]:
    """Return the live release, or with a revision the kept release of that name.

    A revision without one is resolved by the definitions file, and its image is pulled if absent.
    """
    context.definitions.require_known(task.service, context.store.services())
    found = context.store.wanted(task.service).find(task.revision)
    if found:
        return found, restore(task.service, found.definition)
    definition, revision = context.definitions.service(task.service), task.revision or ""
    image = _image(context, f"{definition.service.image}:{revision}")
    return new_release(definition, revision, image.id, ""), definition


def _image(context: TaskContext, reference: str) -> Image:
    """Return the image, pulled if absent. The network is created too: on this host the service may never have run.

    Only this path imports the Docker SDK.
    """
    from conductor.change.prerequisites import pull
    from conductor.output.printers import make_output
    from conductor.runtime.docker.client import DockerRuntime

    host, clock, cancellation = context.host, context.clock, context.cancellation
    runtime = DockerRuntime(host.docker, host.instance, clock, cancellation)
    with context.locks.hold("addresses", ADDRESSES_SECONDS):
        runtime.ensure_network(host.network)
    output = make_output(json=False, stdout=sys.stdout, stderr=sys.stderr, now=clock.now)
    return runtime.image(reference) or pull(runtime, reference, output, clock, cancellation)


def _run(
    context: TaskContext, task: Task, release: Release, definition: Definition, record: TaskRecord
) -> TaskEnd | None:
    """Return None when the task is not followed: it was skipped, or is detached."""
    if task.kind == "console":
        task = _console(task, definition)
    cron = definition.service.cron if task.job else None
    if cron and task.timeout is None:
        task = msgspec.structs.replace(task, timeout=cron.timeout)
    values = environment(definition.service)
    record.secrets = tuple(values.values())
    spec = task_spec(
        task, definition, release, values, instance=context.host.instance, network=context.host.network.name,
        change=os.urandom(4).hex(),  # importing `secrets` takes 5 ms
    )  # fmt: skip
    record.container = spec.name
    if task.kind == "console":
        write_stderr(
            f"{' '.join(task.command)} in {task.service} {release.revision} on {host_name()} (container {spec.name})"
        )
    with exclusive(context, task, cron) as may_run:
        if not may_run:
            record.skipped()
            return None
        record.began()
        return _start(context, task, spec, record)


def _console(task: Task, definition: Definition) -> Task:
    if not definition.service.console:
        raise ConductorError(
            f"cannot open a console of {task.service}: its definition has no `console` key",
            f"add one, for example console: [bin/rails, console], then: conductor service restart --id {task.service}",
        )
    return msgspec.structs.replace(task, command=definition.service.console)


def _start(context: TaskContext, task: Task, spec: ContainerSpec, record: TaskRecord) -> TaskEnd | None:
    runtime, command = context.runtime, task.command[0]
    if task.detach:
        with runtime.starting(spec) as container:
            context.cancellation.check()
            runtime.start(container, command)
        record.detached()
        write_stdout(spec.name)
        return None
    end = AttachedTask(runtime, context.clock, context.cancellation, spec, command).run(task.timeout, record.keep)
    if end.outcome is not Outcome.TIMED_OUT:
        return end
    write_stderr(f"error: {' '.join(task.command)} did not end within {task.timeout:g}s and was stopped")
    return msgspec.structs.replace(end, exit_code=TIMED_OUT)
