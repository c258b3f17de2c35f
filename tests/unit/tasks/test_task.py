"""A run that fails before its release is found: a cron job's last result shows it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from conductor.definitions.load import load, restore
from conductor.errors import ConductorError
from conductor.plan import labels
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.release import Wanted
from conductor.plan.tasks import Task, job_locks
from conductor.plan.transition import new_release
from conductor.runtime.port import RuntimeUnavailable
from conductor.state.history import History
from conductor.state.locks import Locks
from conductor.tasks.context import TaskContext
from conductor.tasks.task import run
from tests.fakes.runtime import FakeCancellation
from tests.fakes.world import WORKER
from tests.unit.tasks.conftest import FakeTaskRuntime


class Listening(FakeCancellation):
    """A cancellation of a command, without signals."""

    def listen(self) -> None:
        pass


class Unavailable:
    """A daemon that is not responding: it refuses the connection, or (`hangs`) accepts it until the deadline of the call."""

    def __init__(self, context: TaskContext, *, hangs: bool) -> None:
        self._context = context
        self._hangs = hangs

    def ping(self, seconds: float) -> None:
        if self._hangs:
            self._context.clock.sleep(seconds)
        raise RuntimeUnavailable("cannot reach Docker")


class Detaching:
    """A daemon that has all images and networks, and starts containers. `specs` are those it was given."""

    def __init__(self) -> None:
        self.specs: list[ContainerSpec] = []

    def has_network(self, _name: str) -> bool:
        return True

    @contextlib.contextmanager
    def starting(self, spec: ContainerSpec) -> Iterator[str]:
        self.specs.append(spec)
        yield "c1"

    def start(self, _container: str, _command: str) -> None:
        pass


@pytest.fixture
def command(context: TaskContext) -> TaskContext:
    return msgspec.structs.replace(context, cancellation=Listening(context.clock))


def task(job: str) -> Task:
    return Task(service="web", kind="cron" if job else "task", command=("true",), revision="r1", job=job)


def test_a_job_whose_release_cannot_be_found_shows_as_failed(command: TaskContext) -> None:
    with pytest.raises(ConductorError) as raised:
        run(command, task("k1"))
    result = command.store.job("web", "k1")
    assert result is not None
    assert (result.revision, result.exit_code, result.output) == ("r1", raised.value.code, raised.value.sentence)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_job_without_a_daemon_shows_as_failed(command: TaskContext, hangs: bool) -> None:
    began, due = command.clock.monotonic(), command.clock.now()
    command = msgspec.structs.replace(command, runtime=Unavailable(command, hangs=hangs))
    with pytest.raises(RuntimeUnavailable) as raised:
        run(command, task("k1"), docker_wait_seconds=5.0)
    assert 5.0 <= command.clock.monotonic() - began <= 6.0
    result = command.store.job("web", "k1")
    assert result is not None
    assert (result.exit_code, result.output) == (raised.value.code, "cannot reach Docker; waited 5s for it")
    assert result.began == due


def test_the_container_of_a_task_has_its_deadline(command: TaskContext) -> None:
    release = new_release(restore("web", WORKER), "r1", "sha256:1", "c1")
    command.store.write_wanted(Wanted(service="web", release=release))
    daemon = Detaching()
    for timeout in (None, 60.0):
        detached = Task(service="web", kind="task", command=("true",), timeout=timeout, detach=True)
        assert run(msgspec.structs.replace(command, runtime=daemon), detached) == 0
    assert [bool(spec.labels[labels.DEADLINE]) for spec in daemon.specs] == [False, True]


def test_a_task_of_an_unknown_service_leaves_no_record(command: TaskContext) -> None:
    with pytest.raises(ConductorError):
        run(command, task(""))
    assert not (command.store.directory / "history.jsonl").exists()


class SpecRecorder(FakeTaskRuntime):
    """A daemon that has everything and refuses each container. `specs` has what was requested."""

    def __init__(self) -> None:
        super().__init__()
        self.specs: list[ContainerSpec] = []

    def has_network(self, name: str) -> bool:
        return True

    @contextlib.contextmanager
    def starting(self, spec: ContainerSpec) -> Iterator[str]:
        self.specs.append(spec)
        raise ConductorError("cannot create a container")
        yield


def test_a_queued_job_starts_with_what_is_stored_when_its_turn_comes(command: TaskContext, tmp_path: Path) -> None:
    secret, held = tmp_path / "secret", contextlib.ExitStack()
    cron = {"generate": ["bin/cron"], "overlap": "queue"}
    service: dict[str, Any] = {"image": "shop", "count": 0, "cron": cron, "env": {"TOKEN": {"file": str(secret)}}}
    path = tmp_path / "services.yml"
    path.write_text(yaml.safe_dump({"version": 1, "services": {"web": service}}))
    secret.write_text("old")
    daemon: Any = SpecRecorder()
    locks = Locks(tmp_path / "locks", "run", command.clock, command.cancellation)
    command = msgspec.structs.replace(command, definitions=load(path), runtime=daemon, locks=locks)
    definition = command.definitions.service("web")
    command.store.write_wanted(Wanted(service="web", release=new_release(definition, "r1", "old", "c1")))
    held.enter_context(command.locks.hold(job_locks("web", "k1")[0]))

    def wait_and_release(_seconds: float) -> None:
        secret.write_text("new")
        command.store.write_wanted(Wanted(service="web", release=new_release(definition, "r1", "new", "c2")))
        held.close()

    command.cancellation.wait = wait_and_release  # type: ignore[method-assign]
    with pytest.raises(ConductorError):
        run(command, task("k1"))
    [spec] = daemon.specs
    assert spec.environment["TOKEN"].reveal() == "new"
    assert spec.image_id == "new"


def test_an_unreadable_secret_file_names_the_service_and_says_what_to_do(command: TaskContext, tmp_path: Path) -> None:
    service: dict[str, Any] = {"image": "shop", "count": 0, "env": {"TOKEN": {"file": str(tmp_path / "gone")}}}
    path = tmp_path / "services.yml"
    path.write_text(yaml.safe_dump({"version": 1, "services": {"web": service}}))
    command = msgspec.structs.replace(command, definitions=load(path))
    definition = command.definitions.service("web")
    command.store.write_wanted(Wanted(service="web", release=new_release(definition, "r1", "old", "c1")))
    with pytest.raises(ConductorError) as refused:
        run(command, Task(service="web", kind="task", command=("true",)))
    assert refused.value.sentence == "cannot use the secret and env files of web: 1 problem"
    assert refused.value.hint.endswith("conductor config check --files, which checks those of all services")


def test_a_job_that_another_manager_runs_is_left_to_it(command: TaskContext) -> None:
    claimed = []

    def claim(*what: object) -> bool:
        claimed.append(what)
        return False

    context = msgspec.structs.replace(command, claim=claim)
    task = Task(service="web", kind="cron", command=("true",), revision="r9", job="key")
    assert run(context, task) == 0
    assert claimed == [("web", "key", int(context.clock.wall() // 60))]
    assert list(History(context.store.directory).entries()) == []
    with pytest.raises(ConductorError):  # it fails, so it was tried
        run(context, msgspec.structs.replace(task, job="", kind="task"))
