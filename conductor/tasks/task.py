"""`conductor run`: find the release, wait for the job's turn, follow the task, and write down how it ended."""

import os
import sys

import msgspec

from conductor.definitions.environment import environment
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.output.streams import answer, remark
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.tasks import Task, task_spec
from conductor.plan.transition import named_release, release
from conductor.plan.values import Image, Release
from conductor.runtime.docker.attach import DaemonGoneError
from conductor.tasks.attach import End, Follower
from conductor.tasks.context import TaskContext, host_name
from conductor.tasks.overlap import turn
from conductor.tasks.results import Record

TIMED_OUT = 124
NETWORK_LOCK_SECONDS = 180.0  # as long as an upgrade may hold it
DOCKER_LOOK_SECONDS = 0.5


def run(context: TaskContext, task: Task, *, docker_wait_seconds: float = 0.0) -> int:
    """The task's own exit code, or 124 when its time was over; a `ConductorError` when it could not be run.

    A daemon that is not there (yet) is waited for.
    """
    context.clock.listen()
    if docker_wait_seconds:
        _await_daemon(context, docker_wait_seconds)
    found, definition = resolve(context, task)
    record = Record(context, task, found.revision)
    try:
        end = _run(context, task, found, definition, record)
    except ConductorError as error:
        record.failed(error)
        raise
    if end is None:
        return 0
    record.ended(end)
    return end.code


def _await_daemon(context: TaskContext, seconds: float) -> None:
    until = context.clock.monotonic() + seconds
    while True:
        try:
            context.daemon.ping()
        except DaemonGoneError:
            if context.clock.monotonic() >= until:
                raise
            context.clock.wait(DOCKER_LOOK_SECONDS)
        else:
            return


def resolve(context: TaskContext, task: Task) -> tuple[Release, Definition]:
    """The live release; with a revision the kept release of that name, or one that was never deployed here, as the
    definitions file has it now, its image pulled if absent.
    """
    if task.service not in context.store.services():
        context.definitions.service(task.service)  # says that there is no such service, and which is nearest
    found = named_release(context.store.wanted(task.service), task.revision)
    if found:
        return found, restore(task.service, found.definition)
    definition, revision = context.definitions.service(task.service), task.revision or ""
    image = _image(context, f"{definition.service.image}:{revision}")
    return release(definition, revision, image.id, ""), definition


def _image(context: TaskContext, reference: str) -> Image:
    """Nothing of the service may ever have run on this host: then there is no network either. This costs the SDK."""
    from conductor.change.image import pull
    from conductor.output.printers import make_printer
    from conductor.runtime.docker.client import DockerRuntime

    runtime = DockerRuntime(context.host.docker, context.host.instance, context.clock)
    with context.locks.hold("addresses", NETWORK_LOCK_SECONDS):
        runtime.ensure_network(context.host.network)
    report = make_printer(json=False, stdout=sys.stdout, stderr=sys.stderr)
    return runtime.image(reference) or pull(runtime, reference, report, context.clock)


def _run(context: TaskContext, task: Task, found: Release, definition: Definition, record: Record) -> End | None:
    """None when nobody follows it: it was skipped, or is detached."""
    if task.kind == "console":
        task = _console(task, definition)
    cron = definition.service.cron if task.job else None
    if cron and task.timeout is None:
        task = msgspec.structs.replace(task, timeout=cron.timeout)
    values = environment(definition.service)
    record.secrets = tuple(values.values())
    spec = task_spec(
        task, definition, found, values, instance=context.host.instance, network=context.host.network.name,
        change=os.urandom(4).hex(),  # importing `secrets` costs 5 ms
    )  # fmt: skip
    record.container = spec.name
    if task.kind == "console":
        remark(f"{' '.join(task.command)} in {task.service} {found.revision} on {host_name()} (container {spec.name})")
    with turn(context, task, cron) as mine:
        if not mine:
            record.skipped()
            return None
        record.began()
        return _follow(context, task, spec, record)


def _console(task: Task, definition: Definition) -> Task:
    if not definition.service.console:
        raise ConductorError(
            f"cannot open a console of {task.service}: its definition has none",
            "write for example console: [bin/rails, console], and upgrade or restart",
        )
    return msgspec.structs.replace(task, command=definition.service.console)


def _follow(context: TaskContext, task: Task, spec: ContainerSpec, record: Record) -> End | None:
    daemon, command = context.daemon, task.command[0]
    if task.detach:
        with daemon.starting(spec) as container:
            context.clock.check()
            daemon.start(container, command)
        record.detached()
        answer(spec.name)
        return None
    end = Follower(daemon, context.clock, spec, command).follow(task.timeout, record.keep)
    if end.cut != "timeout":
        return end
    remark(f"error: {' '.join(task.command)} did not end within {task.timeout:g}s and was stopped")
    return msgspec.structs.replace(end, code=TIMED_OUT)
