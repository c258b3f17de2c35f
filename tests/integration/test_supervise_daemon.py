"""`conductor supervise` with a Docker daemon that fails, hangs or restarted, and with containers that tasks left."""

import time
from collections.abc import Iterator

import pytest

from tests.support.daemon_between import DaemonBetween, Trouble
from tests.support.host import TestHost
from tests.support.supervised import Supervised

SPACING_SECONDS = 5.0


@pytest.fixture
def between(host: TestHost) -> Iterator[DaemonBetween]:
    with DaemonBetween(host.directory / "between.sock") as made:
        yield made


def test_a_daemon_that_answers_with_errors(host: TestHost, between: DaemonBetween, sup: Supervised) -> None:
    """An unknown replica is not replaced, and the log has one line. Then the exited replica is started again, once."""
    host.define({"web": sup.service()}, host_extra={"docker": between.url})
    spawned = sup.start()
    between.trouble = (Trouble("."),)
    sup.host.kill(sup.running()[0].id)
    host.wait_for(lambda: sup.status()["text"].startswith("the last pass failed"), "the failed pass", 12)
    assert host.conductor("supervise", "status", check=True).stdout.count("the last pass failed: cannot list") == 1
    time.sleep(1.5)
    assert sup.log.count("the last pass failed") == 1
    assert (sup.events.of("start"), spawned.running()) == ([], True)
    between.trouble = ()
    sup.wait_until_right(2)
    assert "the last pass succeeded" in sup.log
    sup.host.wait_for(lambda: len(sup.events.of("start")) == 1, "the event")


def test_after_a_reboot_the_same_containers_run_again(sup: Supervised) -> None:
    """They keep their ids and addresses: supervise starts them in place, and creates none."""
    host = sup.host
    before = {(c.id, c.address) for c in sup.running()}
    for container in sup.running():
        host.kill(container.id)
    sup.start()
    after = sup.wait_until_right(2)
    assert {(c.id, c.address) for c in after} == before
    host.wait_for(lambda: len(sup.events.of("start")) == 2, "both events")
    assert sup.events.of("create") == []
    host.wait_for(lambda: host.get().status == 200, "an answer")
    host.wait_for(lambda: host.history()[-1]["action"] == "restart-exited", "the history entry")
    assert host.history()[-1]["outcome"] == "done"


@pytest.mark.long
def test_a_daemon_that_hangs(host: TestHost, between: DaemonBetween, sup: Supervised) -> None:
    """No replica is started twice."""
    host.define({"web": sup.service()}, host_extra={"docker": between.url})
    spawned = sup.start()
    between.hang.clear()
    host.kill(sup.running()[0].id)
    time.sleep(75)
    assert spawned.running()
    assert sup.events.of("start") == []
    between.hang.set()
    sup.wait_until_right(2, timeout=90)
    sup.host.wait_for(lambda: len(sup.events.of("start")) == 1, "the event")


@pytest.mark.long
def test_tasks_whose_run_was_killed_are_removed(sup: Supervised) -> None:
    host = sup.host
    run = host.spawn("run", "--id", "web", "sleep", "2")
    host.wait_for(lambda: [c for c in host.containers("web") if c.kind == "task"], "the task")
    run.kill()
    sup.start()
    host.wait_for(lambda: not [c for c in host.containers("web") if c.kind == "task"], "its removal", 200)
    sup.wait_until_right(2)
