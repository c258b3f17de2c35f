"""`conductor run`: find the release, wait for the job's overlap lock, run the task, and record how it ended."""

import os
import sys
from typing import TYPE_CHECKING

import msgspec

from conductor.definitions.environment import environment
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.output.streams import write_notice, write_stderr, write_stdout
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.history import Outcome
from conductor.plan.release import Image, Release
from conductor.plan.tasks import Task, task_spec, with_deadline
from conductor.runtime.docker.attach import MissingImageError
from conductor.runtime.port import RuntimeUnavailable
from conductor.state.locks import ADDRESSES_SECONDS
from conductor.tasks.attach import AttachedTask, TaskEnd
from conductor.tasks.context import TaskContext, host_name
from conductor.tasks.overlap import exclusive
from conductor.tasks.results import TaskRecord
from conductor.times import duration_text

if TYPE_CHECKING:
    from conductor.output.printers import Output
    from conductor.runtime.port import Runtime

TIMED_OUT = 124
DOCKER_POLL_SECONDS = 0.5
MINUTE_SECONDS = 60.0


def run(context: TaskContext, task: Task, *, docker_wait_seconds: float = 0.0) -> int:
    """Run a task and return its exit code, or 124 after its timeout; raise `ConductorError` when it could not be run.

    Wait at most `docker_wait_seconds` for a daemon that is not responding. A job that another
    manager of a fleet runs is left to it.
    """
    context.cancellation.listen()
    minute, due = int(context.clock.wall() // MINUTE_SECONDS), context.clock.now()
    try:
        if docker_wait_seconds:
            _await_daemon(context, docker_wait_seconds)
        if task.job and not context.claim(task.service, task.job, minute):
            return 0
        release, definition = resolve(context, task)
    except ConductorError as error:
        if task.job:  # so that `cron list` shows the failure
            TaskRecord(context, task, task.revision or "", began=due).failed(error)
        raise
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
    """Return once the daemon answers. A connection to one that is starting is accepted, and is answered later or never."""
    until = context.clock.monotonic() + seconds
    while True:
        left = until - context.clock.monotonic()
        try:
            context.runtime.ping(max(left, DOCKER_POLL_SECONDS))
        except RuntimeUnavailable as error:
            if context.clock.monotonic() >= until:
                raise RuntimeUnavailable(
                    f"{error.sentence}; waited {duration_text(seconds)} for it", error.hint
                ) from error
            context.cancellation.wait(DOCKER_POLL_SECONDS)
        else:
            return


def resolve(context: TaskContext, task: Task) -> tuple[Release, Definition]:
    """Return the live release, or with a revision the kept release of that name.

    A revision without one is resolved by the definitions file, and its image is pulled if absent. With `task.pull`, the task
    gets the image to which the tag of its revision belongs now.
    """
    context.definitions.require_known(task.service, context.store.services())
    found = context.store.wanted(task.service).find(task.revision)
    if found:
        if task.pull:
            found = msgspec.structs.replace(found, image_id=_image(context, found.image, pull_again=True).id)
        return found, restore(task.service, found.definition)
    from conductor.plan.transition import new_release  # only a task of a revision that is not kept needs it

    definition, revision = context.definitions.service(task.service), task.revision or ""
    image = _image(context, f"{definition.service.image}:{revision}", pull_again=task.pull)
    return new_release(definition, revision, image.id, ""), definition


def _image(context: TaskContext, reference: str, *, pull_again: bool) -> Image:
    """Return the image, pulled if absent. The network is created too: on this host the service may never have run."""
    from conductor.change.prerequisites import pull

    runtime, output = _docker(context)
    present = None if pull_again else runtime.image(reference)
    return present or pull(runtime, reference, output, context.clock, context.cancellation)


def _restore_prerequisites(context: TaskContext, release: Release) -> None:
    """Create the network and pull the image of a release when they were removed, for example by `docker system prune`."""
    from conductor.change.prerequisites import pull, require_image

    runtime, output = _docker(context)
    require_image(
        runtime, release, lambda reference: pull(runtime, reference, output, context.clock, context.cancellation)
    )


def _docker(context: TaskContext) -> "tuple[Runtime, Output]":
    """Create the network, and return the runtime and the output. Only a task that lacks something imports the Docker SDK."""
    from conductor.output.printers import make_output
    from conductor.runtime.docker.client import DockerRuntime

    host = context.host
    runtime = DockerRuntime(host.docker, host.instance, context.clock, context.cancellation)
    with context.locks.hold("addresses", ADDRESSES_SECONDS):
        runtime.ensure_network(host.network)
    return runtime, make_output(json=False, stdout=sys.stdout, stderr=sys.stderr, now=context.clock.now)


def _run(
    context: TaskContext, task: Task, release: Release, definition: Definition, record: TaskRecord
) -> TaskEnd | None:
    """Return None when the task is not followed: it was skipped, or is detached."""
    if task.kind == "console":
        task = _console(task, definition)
    cron = definition.service.cron if task.job else None
    if cron and task.timeout is None:
        task = msgspec.structs.replace(task, timeout=cron.timeout)
    with exclusive(context, task, cron) as may_run:
        if not may_run:
            record.skipped()
            return None
        if cron and cron.overlap == "queue":  # the wait may have been long
            release, definition = resolve(context, task)
        values = environment(definition.service, task.service)
        record.secrets = tuple(values.values())
        spec = task_spec(
            task, definition, release, values, instance=context.host.instance, network=context.host.network.name,
            change=os.urandom(4).hex(),  # importing `secrets` takes 5 ms
        )  # fmt: skip
        record.container = spec.name
        if task.kind == "console":
            write_notice(
                f"{' '.join(task.command)} in {task.service} {release.revision} on {host_name()} (container {spec.name})"
            )
        record.began()
        if not context.runtime.has_network(context.host.network.name):
            _restore_prerequisites(context, release)
        try:
            return _start(context, task, spec, record)
        except MissingImageError:
            _restore_prerequisites(context, release)
            return _start(context, task, spec, record)


def _console(task: Task, definition: Definition) -> Task:
    if not definition.service.console:
        raise ConductorError(
            f"cannot open a console for {task.service}: its definition has no `console` key",
            f"add one, for example console: [bin/rails, console], then run conductor service restart --id {task.service}",
        )
    return msgspec.structs.replace(task, command=definition.service.console)


def _start(context: TaskContext, task: Task, spec: ContainerSpec, record: TaskRecord) -> TaskEnd | None:
    spec = with_deadline(spec, context.clock.wall(), task.timeout)
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
    write_stderr(
        f"error: {' '.join(task.command)} did not finish within {duration_text(task.timeout or 0)} and was stopped"
    )
    return msgspec.structs.replace(end, exit_code=TIMED_OUT)
