"""Tasks whose `conductor run` is gone: which containers are removed, and what the history then has."""

from pathlib import Path
from typing import Any

import pytest

from conductor.change import actions
from conductor.change.cleanup import CREATED_SECONDS, clean_up_tasks, is_due
from conductor.change.install_crontab import install, remove
from conductor.cron.installed import job_key
from conductor.definitions.load import restore
from conductor.errors import ConductorError
from conductor.plan.container_spec import container_spec
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.replica import Containers, Kind, TaskContainer
from conductor.plan.tasks import (
    KEEP_SECONDS,
    OVERDUE_STOP_SECONDS,
    JobResult,
    Task,
    job_locks,
    task_spec,
    with_deadline,
)
from conductor.plan.transition import new_release
from conductor.runtime.docker.attach import START_SECONDS
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB, WatchedRuntime, World

OLD, YOUNG = KEEP_SECONDS + 2, KEEP_SECONDS - 2
GRACE = restore("web", WEB).service.stop.grace


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, {"web": WEB})
    made.runtime.ensure_network(made.definitions.host.network)
    return made


def container(
    world: World,
    kind: Kind,
    *,
    timeout: float | None = None,
    started: bool = True,
    exits: float | None = 0.0,
    exit_code: int = 0,
) -> str:
    """Create a container of `web` r1 that exits after `exits` seconds (None: never); return its id."""
    definition = restore("web", WEB)
    release = new_release(definition, "r1", "sha256:shop:r1", "c1")
    places: dict[str, Any] = {"instance": "default", "network": world.definitions.host.network.name, "change": "t1"}
    if kind == "service":
        spec = container_spec(definition, release, {}, kind=kind, name="1", address="10.213.0.2:8080", **places)
    else:
        task = Task(service="web", kind=kind, command=("true",))
        spec = with_deadline(task_spec(task, definition, release, {}, **places), world.clock.wall(), timeout)
    world.runtime.behave("r1", Behaviour(exits_after=exits, exit_code=exit_code))
    made = world.runtime.create(spec)
    if started:
        world.runtime.start(made)
    return made


def cleaned_up(world: World) -> list[HistoryEntry]:
    """Clean up `web` in a command of its own; return the new history entries."""
    before = len(world.recorder.history)
    clean_up_tasks(world.context(), "web")
    return world.recorder.history[before:]


def left(world: World) -> int:
    """Return how many containers there are."""
    return len(world.runtime.snapshot().tasks) + len(world.runtime.snapshot().replicas)


@pytest.mark.parametrize("kind", ["task", "cron", "console"])
def test_an_exited_task_is_removed_and_its_exit_code_is_in_the_history(world: World, kind: Kind) -> None:
    container(world, kind, exit_code=7)
    world.clock.advance(OLD)
    [entry] = cleaned_up(world)
    assert (entry.service, entry.action, entry.outcome, entry.exit_code) == ("web", kind, Outcome.UNATTENDED, 7)
    assert (entry.container, entry.to) == (f"web-r1-t1-{kind}", "r1")
    assert world.clock.age(entry.at) == pytest.approx(OLD, abs=1)
    assert left(world) == 0


def test_a_task_that_was_never_started_is_removed(world: World) -> None:
    container(world, "task", started=False)
    world.clock.advance(START_SECONDS)
    assert cleaned_up(world) == []  # its `conductor run` may still wait for a slow start
    world.clock.advance(CREATED_SECONDS - START_SECONDS + 1)
    [entry] = cleaned_up(world)
    assert entry.outcome is Outcome.NEVER_STARTED
    assert left(world) == 0


def test_a_task_is_stopped_after_its_deadline(world: World) -> None:
    """Its `conductor run` was killed. Otherwise that process stops the task at its timeout and kills it after the grace."""
    made = container(world, "cron", timeout=100.0, exits=None)
    world.clock.advance(100.0 + GRACE + YOUNG)
    assert cleaned_up(world) == []
    world.clock.advance(OLD - YOUNG)
    [entry] = cleaned_up(world)
    assert (entry.action, entry.outcome, entry.exit_code) == ("cron", Outcome.OVERDUE, None)
    assert world.clock.age(entry.at) == pytest.approx(0, abs=1)
    assert world.runtime.called("stop") == [(made, OVERDUE_STOP_SECONDS)]
    assert left(world) == 0


def test_the_time_limit_of_a_task_begins_when_it_has_started(world: World) -> None:
    """A busy host is slow to start it. Its deadline is written into a label before."""
    made = container(world, "task", timeout=100.0, exits=None, started=False)
    world.clock.advance(START_SECONDS)
    world.runtime.start(made)
    world.clock.advance(100.0 + GRACE + YOUNG)
    assert cleaned_up(world) == []
    world.clock.advance(OLD - YOUNG)
    assert [entry.outcome for entry in cleaned_up(world)] == [Outcome.OVERDUE]


def test_a_clock_that_was_set_forward_ends_no_task(world: World) -> None:
    """After a boot, jobs begin before the time of the network is known; and their `conductor run` follows them."""
    container(world, "cron", timeout=100.0, exits=None)
    world.clock.advance(50.0)
    world.clock.set_forward(7200.0)
    assert cleaned_up(world) == []
    world.clock.advance(50.0 + GRACE + OLD)
    assert [entry.outcome for entry in cleaned_up(world)] == [Outcome.OVERDUE]


def test_an_overdue_task_that_cannot_be_stopped_is_killed(world: World) -> None:
    container(world, "task", timeout=1.0, exits=None)
    world.clock.advance(1.0 + GRACE + OLD)
    world.runtime.fail("stop", error=ConductorError("cannot stop a paused container"))
    assert [entry.outcome for entry in cleaned_up(world)] == [Outcome.OVERDUE]
    assert left(world) == 0


@pytest.mark.parametrize(
    ("kind", "exits", "age"),
    [
        pytest.param("task", 0.0, YOUNG, id="its conductor run may still read the exit code"),
        pytest.param("task", None, OLD * 100, id="a running task"),
        pytest.param("cron", None, OLD * 100, id="a running job"),
        pytest.param("service", 0.0, OLD, id="a replica"),
        pytest.param("hook", 0.0, OLD, id="a hook, which belongs to its change"),
    ],
)
def test_other_containers_stay(world: World, kind: Kind, exits: float | None, age: float) -> None:
    container(world, kind, exits=exits)
    world.clock.advance(age)
    assert cleaned_up(world) == []
    assert left(world) == 1


def test_a_paused_task_stays(world: World) -> None:
    world.runtime.pause(container(world, "task", exits=None))
    world.clock.advance(OLD)
    assert cleaned_up(world) == []
    assert left(world) == 1


def test_tasks_of_other_services_stay(world: World) -> None:
    container(world, "task")
    world.clock.advance(OLD)
    clean_up_tasks(world.context(), "worker")
    assert (left(world), world.recorder.history) == (1, [])


class VanishingRuntime(WatchedRuntime):
    """Its containers are removed by another program right after they were listed."""

    def containers(self, service: str | None = None) -> Containers:
        found = super().containers(service)
        for one in found.tasks:
            self.vanish(one.id)
        return found


def test_a_container_that_vanishes_meanwhile_is_no_error(world: World) -> None:
    world.runtime = VanishingRuntime(world.clock, world.traffic)
    world.runtime.add_image("shop:r1")
    world.runtime.ensure_network(world.definitions.host.network)
    container(world, "task")
    world.clock.advance(OLD)
    assert cleaned_up(world) == []


@pytest.mark.parametrize("method", ["containers", "inspect", "remove"])
def test_a_runtime_error_is_no_error_of_the_command_and_the_next_one_removes_the_container(
    world: World, method: str
) -> None:
    container(world, "task")
    world.clock.advance(OLD)
    world.runtime.fail(method, error=ConductorError("cannot reach Docker"))
    cleaned_up(world)
    assert left(world) == 1
    assert [entry.outcome for entry in cleaned_up(world)] == [Outcome.UNATTENDED]
    assert left(world) == 0


@pytest.mark.parametrize("method", ["stop", "remove"])
def test_a_container_that_cannot_be_removed_does_not_keep_the_others(world: World, method: str) -> None:
    """Docker refuses to remove a container as long as another program uses its files: each time, and for days."""
    for kind in ("cron", "task"):
        container(world, kind, timeout=1.0, exits=None)  # type: ignore[arg-type]
    world.clock.advance(1.0 + GRACE + OLD)
    world.runtime.fail(method)
    cleaned_up(world)
    assert [one.kind for one in world.runtime.snapshot().tasks] == (["cron"] if method == "remove" else [])


@pytest.mark.parametrize(
    ("kind", "state", "deadline", "due"),
    [
        ("task", "exited", None, True),
        ("task", "created", None, True),
        ("task", "running", None, False),
        ("cron", "running", 1000.0 - YOUNG, False),
        ("cron", "running", 1000.0 - OLD, True),
        ("cron", "paused", 1000.0 - OLD, True),
        ("hook", "exited", None, False),
    ],
)
def test_which_containers_are_inspected(kind: Kind, state: str, deadline: float | None, due: bool) -> None:
    found = TaskContainer(
        id="i", name="n", service="web", revision="r1", kind=kind, change="t1", state=state, deadline=deadline
    )
    assert is_due(found, 1000.0) is due


@pytest.fixture
def cron_world(tmp_path: Path) -> World:
    return World(tmp_path, {"web": {**WEB, "cron": {"generate": ["bin/cron"]}}})


def prints(world: World, *commands: str) -> None:
    """Let the app print a crontab with these commands."""
    table = tuple(f"* * * * * {command}" for command in commands)
    world.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=table), kind="task")


def run_jobs(world: World, *commands: str) -> list[str]:
    """Leave the results and the locks of runs of these commands; return the keys of the jobs."""
    locks, jobs = world.context().locks, [job_key(command) for command in commands]
    for job in jobs:
        world.store.write_job(JobResult(service="web", job=job))
        for name in job_locks("web", job):
            with locks.hold(name):
                pass
    return jobs


def left_locks(world: World) -> set[str]:
    return {path.name for path in (world.directory / "run" / "locks").iterdir() if path.name.startswith("web.")}


def test_results_and_locks_of_jobs_that_left_the_crontab_are_removed(cron_world: World) -> None:
    world = cron_world
    prints(world, "bin/a", "bin/b")
    world.upgrade("r1")
    _, b = run_jobs(world, "bin/a", "bin/b")
    prints(world, "bin/b")
    world.upgrade("r2")
    assert world.store.jobs("web") == (b,)
    assert left_locks(world) == {"web.lock", *(f"{name}.lock" for name in job_locks("web", b))}
    world.perform(actions.stop(""))
    assert world.store.jobs("web") == (b,)  # they return with the crontab


def test_cron_install_removes_results_and_locks_too(cron_world: World) -> None:
    world = cron_world
    prints(world, "bin/a", "bin/b")
    world.upgrade("r1")
    _, b = run_jobs(world, "bin/a", "bin/b")
    prints(world, "bin/b")
    install(world.context(), world.definitions, "web", None, 0.0)
    assert world.store.jobs("web") == (b,)
    assert left_locks(world) == {"web.lock", *(f"{name}.lock" for name in job_locks("web", b))}
    remove(world.context(), "web", 0.0)
    assert world.store.jobs("web") == (b,)  # they return with the crontab


def test_cron_remove_removes_results_and_locks_when_no_release_has_the_crontab(cron_world: World) -> None:
    world = cron_world
    prints(world, "bin/a")
    install(world.context(), world.definitions, "web", "r1", 0.0)
    jobs = tuple(run_jobs(world, "bin/a"))
    assert world.store.jobs("web") == jobs
    remove(world.context(), "web", 0.0)
    assert world.store.jobs("web") == ()
    assert left_locks(world) == {"web.lock"}


def test_the_lock_of_a_job_that_runs_stays(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": WEB})
    locks, other = world.context().locks, world.context().locks
    with locks.hold("web.k1"):
        other.remove("web.k1")
        assert other.is_held("web.k1")
