"""A run that fails before its release is found: a cron job's last result shows it."""

import dataclasses

import pytest

from conductor.errors import ConductorError
from conductor.plan.tasks import Task
from conductor.runtime.port import RuntimeUnavailable
from conductor.tasks.context import TaskContext
from conductor.tasks.task import run
from tests.fakes.runtime import FakeCancellation


class Listening(FakeCancellation):
    """A cancellation of a command, without signals."""

    def listen(self) -> None:
        pass


class Unavailable:
    """A daemon that does not answer."""

    def ping(self) -> None:
        raise RuntimeUnavailable("cannot reach Docker")


@pytest.fixture
def command(context: TaskContext) -> TaskContext:
    return dataclasses.replace(context, cancellation=Listening(context.clock))


def task(job: str) -> Task:
    return Task(service="web", kind="cron" if job else "task", command=("true",), revision="r1", job=job)


def test_a_job_whose_release_cannot_be_found_shows_as_failed(command: TaskContext) -> None:
    with pytest.raises(ConductorError) as raised:
        run(command, task("k1"))
    result = command.store.job("web", "k1")
    assert result is not None
    assert (result.revision, result.exit_code, result.output) == ("r1", raised.value.code, raised.value.sentence)


def test_a_job_without_a_daemon_shows_as_failed(command: TaskContext) -> None:
    command = dataclasses.replace(command, runtime=Unavailable())
    with pytest.raises(RuntimeUnavailable):
        run(command, task("k1"), docker_wait_seconds=5.0)
    result = command.store.job("web", "k1")
    assert result is not None
    assert result.output == "cannot reach Docker"


def test_a_task_of_an_unknown_service_leaves_no_record(command: TaskContext) -> None:
    with pytest.raises(ConductorError):
        run(command, task(""))
    assert not (command.store.directory / "history.jsonl").exists()
