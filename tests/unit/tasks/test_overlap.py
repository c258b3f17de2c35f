"""Whether a cron job may run while another run of it is in progress."""

from typing import Any

import pytest

from conductor.definitions.model import Cron
from conductor.plan.tasks import Task
from conductor.tasks.context import TaskContext
from conductor.tasks.overlap import POLL_SECONDS, exclusive

JOB = Task(service="web", kind="cron", command=("true",), job="k1")


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


def test_skip_beside_a_container_without_a_process(context: TaskContext) -> None:
    context.runtime.answers = [("web-r1-x-cron",)]
    with exclusive(context, JOB, cron("skip")) as may_run:
        assert not may_run


def test_queue_waits_for_a_container(context: TaskContext) -> None:
    context.runtime.answers = [("web-r1-x-cron",)] * 3
    with exclusive(context, JOB, cron("queue")) as may_run:
        assert may_run
        assert context.clock.monotonic() == pytest.approx(3 * POLL_SECONDS)
        assert context.locks.held == {"web.k1"}


def test_only_one_run_queues(context: TaskContext) -> None:
    with context.locks.hold("web.k1.next"), exclusive(context, JOB, cron("queue")) as may_run:
        assert not may_run
