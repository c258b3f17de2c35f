"""Whether a cron job may run while another run of it is in progress."""

from typing import Any

import msgspec
import pytest

from conductor.definitions.model import Cron
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.replica import TaskContainer
from conductor.plan.tasks import KEEP_SECONDS, OVERDUE_STOP_SECONDS, Task
from conductor.tasks.context import TaskContext
from conductor.tasks.overlap import CREATED_SECONDS, POLL_SECONDS, exclusive

JOB = Task(service="web", kind="cron", command=("true",), job="k1")
LIMITED = msgspec.structs.replace(JOB, timeout=60.0)


def cron(overlap: Any) -> Cron:
    return Cron(generate=("bin/cron",), overlap=overlap)


def test_allow_and_tasks_hold_no_lock(context: TaskContext) -> None:
    for one in (None, cron("allow")):
        with exclusive(context, JOB, one) as first, exclusive(context, JOB, one) as second:
            assert (first, second) == (True, True)
            assert not context.locks.held


def test_skip_beside_another_run(context: TaskContext) -> None:
    with exclusive(context, JOB, cron("skip")) as first, exclusive(context, JOB, cron("skip")) as second:
        assert (first, second) == (True, False)
    with exclusive(context, JOB, cron("skip")) as third:
        assert third


def left_behind(
    context: TaskContext, state: str = "running", *, age: float = 0.0, overdue: float | None = None
) -> None:
    """Add a container whose `conductor run` was killed, `overdue` seconds after its deadline."""
    wall = context.clock.wall()
    container = TaskContainer(
        id="c1", name="web-r1-x-cron", service="web", revision="r1", kind="cron", change="x", state=state, job="k1",
        created=wall - age, deadline=None if overdue is None else wall - overdue,
    )  # fmt: skip
    context.runtime.containers = [container]


LEFT_BEHIND: dict[str, tuple[dict[str, Any], bool]] = {
    "running": ({}, False),
    "running for long without a time limit": ({"age": 1e6}, False),
    "paused": ({"state": "paused"}, False),
    "running before its deadline": ({"overdue": -1.0}, False),
    "running after its deadline": ({"overdue": 1.0}, True),
    "paused after its deadline": ({"state": "paused", "overdue": 1.0}, True),
    "about to start": ({"state": "created", "age": CREATED_SECONDS - 1}, False),
    "never started": ({"state": "created", "age": CREATED_SECONDS + 1}, True),
}


@pytest.mark.parametrize(("container", "runs"), LEFT_BEHIND.values(), ids=LEFT_BEHIND)
def test_a_container_whose_conductor_run_was_killed(
    context: TaskContext, container: dict[str, Any], runs: bool
) -> None:
    left_behind(context, **container)
    with exclusive(context, JOB, cron("skip")) as may_run:
        assert may_run is runs
    with context.locks.hold("web.k1"):
        pass  # it is released


@pytest.mark.parametrize("overlap", ["allow", "skip", "queue"])
def test_an_overdue_container_is_stopped_and_removed_before_the_next_run(context: TaskContext, overlap: str) -> None:
    left_behind(context, overdue=KEEP_SECONDS + 1)
    with exclusive(context, LIMITED, cron(overlap)) as may_run:
        assert (may_run, context.runtime.containers, context.clock.monotonic()) == (True, [], 0.0)
    assert context.runtime.stopped == [("c1", OVERDUE_STOP_SECONDS)]
    [line] = (context.store.directory / "history.jsonl").read_bytes().splitlines()
    entry = msgspec.json.decode(line, type=HistoryEntry)
    assert (entry.outcome, entry.container, entry.action) == (Outcome.OVERDUE, "web-r1-x-cron", "cron")


def test_with_allow_a_container_that_another_run_may_be_removing_stays(context: TaskContext) -> None:
    left_behind(context, overdue=KEEP_SECONDS - 1)
    with exclusive(context, LIMITED, cron("allow")) as may_run:
        assert (may_run, context.runtime.stopped, len(context.runtime.containers)) == (True, [], 1)


def test_queue_waits_until_a_container_is_overdue(context: TaskContext) -> None:
    left_behind(context, overdue=-5.0)
    with exclusive(context, JOB, cron("queue")) as may_run:
        assert may_run
        assert context.clock.monotonic() == pytest.approx(6 * POLL_SECONDS)


def test_queue_waits_for_a_container(context: TaskContext) -> None:
    left_behind(context)
    context.runtime.ends_after_calls = 3
    with exclusive(context, JOB, cron("queue")) as may_run:
        assert may_run
        assert context.clock.monotonic() == pytest.approx(3 * POLL_SECONDS)
        assert context.locks.held == {"web.k1"}


def test_only_one_run_queues(context: TaskContext) -> None:
    with context.locks.hold("web.k1.next"), exclusive(context, JOB, cron("queue")) as may_run:
        assert not may_run


@pytest.mark.parametrize(("overlap", "runs"), [("allow", True), ("skip", False)])
def test_a_job_that_was_slow_to_start_has_its_whole_time(context: TaskContext, overlap: str, runs: bool) -> None:
    left_behind(context, overdue=KEEP_SECONDS + 1)
    context.runtime.start_delay_seconds = 100.0
    with exclusive(context, LIMITED, cron(overlap)) as may_run:
        assert (may_run, context.runtime.stopped) == (runs, [])


@pytest.mark.parametrize(("overlap", "runs"), [("allow", True), ("skip", False)])
def test_a_clock_that_was_set_forward_ends_no_job(context: TaskContext, overlap: str, runs: bool) -> None:
    """After a boot, jobs begin before the time of the network is known. The kernel counts the seconds in any case."""
    left_behind(context, age=7200.0, overdue=7140.0)
    context.runtime.ran = 59.0
    with exclusive(context, LIMITED, cron(overlap)) as may_run:
        assert (may_run, context.runtime.stopped) == (runs, [])
    context.runtime.ran = 61.0 + KEEP_SECONDS
    with exclusive(context, LIMITED, cron(overlap)) as may_run:
        assert (may_run, context.runtime.stopped) == (True, [("c1", OVERDUE_STOP_SECONDS)])
