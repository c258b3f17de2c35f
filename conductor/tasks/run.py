"""`conductor run`: find the release, wait for the job's turn, follow the task, and write down how it ended."""

import os
import sys

import msgspec

from conductor.definitions.environment import environment
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.engine.attach import DaemonGoneError
from conductor.errors import ConductorError
from conductor.plan.moves import named_release, release
from conductor.plan.spec import ContainerSpec
from conductor.plan.tasks import Task, task_spec
from conductor.plan.values import Image, Release
from conductor.report.output import answer, remark
from conductor.tasks.doors import TaskDoors, host_name
from conductor.tasks.follow import End, Follower
from conductor.tasks.record import Record
from conductor.tasks.turn import turn

TIMED_OUT = 124
NETWORK_LOCK_SECONDS = 180.0  # as long as an upgrade may hold it
DOCKER_LOOK_SECONDS = 0.5


def run(doors: TaskDoors, task: Task, *, docker_wait_seconds: float = 0.0) -> int:
    """The task's own exit code, or 124 when its time was over; a `ConductorError` when it could not be run.

    A daemon that is not there (yet) is waited for.
    """
    doors.clock.listen()
    if docker_wait_seconds:
        _await_daemon(doors, docker_wait_seconds)
    found, definition = resolve(doors, task)
    record = Record(doors, task, found.revision)
    try:
        end = _run(doors, task, found, definition, record)
    except ConductorError as error:
        record.failed(error)
        raise
    if end is None:
        return 0
    record.ended(end)
    return end.code


def _await_daemon(doors: TaskDoors, seconds: float) -> None:
    until = doors.clock.monotonic() + seconds
    while True:
        try:
            doors.daemon.ping()
        except DaemonGoneError:
            if doors.clock.monotonic() >= until:
                raise
            doors.clock.wait(DOCKER_LOOK_SECONDS)
        else:
            return


def resolve(doors: TaskDoors, task: Task) -> tuple[Release, Definition]:
    """The live release; with a revision the kept release of that name, or one that was never deployed here, as the
    definitions file has it now, its image pulled if absent.
    """
    if task.service not in doors.store.services():
        doors.definitions.service(task.service)  # says that there is no such service, and which is nearest
    found = named_release(doors.store.wanted(task.service), task.revision)
    if found:
        return found, restore(task.service, found.definition)
    definition, revision = doors.definitions.service(task.service), task.revision or ""
    image = _image(doors, f"{definition.service.image}:{revision}")
    return release(definition, revision, image.id, ""), definition


def _image(doors: TaskDoors, reference: str) -> Image:
    """Nothing of the service may ever have run on this host: then there is no network either. This costs the SDK."""
    from conductor.change.image import pull
    from conductor.engine.docker import DockerEngine
    from conductor.report.printers import make_printer

    engine = DockerEngine(doors.host.docker, doors.host.instance, doors.clock)
    with doors.locks.hold("addresses", NETWORK_LOCK_SECONDS):
        engine.ensure_network(doors.host.network)
    report = make_printer(json=False, stdout=sys.stdout, stderr=sys.stderr)
    return engine.image(reference) or pull(engine, reference, report, doors.clock)


def _run(doors: TaskDoors, task: Task, found: Release, definition: Definition, record: Record) -> End | None:
    """None when nobody follows it: it was skipped, or is detached."""
    if task.kind == "console":
        task = _console(task, definition)
    cron = definition.service.cron if task.job else None
    if cron and task.timeout is None:
        task = msgspec.structs.replace(task, timeout=cron.timeout)
    values = environment(definition.service)
    record.secrets = tuple(values.values())
    spec = task_spec(
        task, definition, found, values, instance=doors.host.instance, network=doors.host.network.name,
        change=os.urandom(4).hex(),  # importing `secrets` costs 5 ms
    )  # fmt: skip
    record.container = spec.name
    if task.kind == "console":
        remark(f"{' '.join(task.command)} in {task.service} {found.revision} on {host_name()} (container {spec.name})")
    with turn(doors, task, cron) as mine:
        if not mine:
            record.skipped()
            return None
        record.began()
        return _follow(doors, task, spec, record)


def _console(task: Task, definition: Definition) -> Task:
    if not definition.service.console:
        raise ConductorError(
            f"cannot open a console of {task.service}: its definition has none",
            "write for example console: [bin/rails, console], and upgrade or restart",
        )
    return msgspec.structs.replace(task, command=definition.service.console)


def _follow(doors: TaskDoors, task: Task, spec: ContainerSpec, record: Record) -> End | None:
    daemon, command = doors.daemon, task.command[0]
    if task.detach:
        with daemon.starting(spec) as container:
            doors.clock.check()
            daemon.start(container, command)
        record.detached()
        answer(spec.name)
        return None
    end = Follower(daemon, doors.clock, spec, command).follow(task.timeout, record.keep)
    if end.cut != "timeout":
        return end
    remark(f"error: {' '.join(task.command)} did not end within {task.timeout:g}s and was stopped")
    return msgspec.structs.replace(end, code=TIMED_OUT)
