"""Actions that wait for their turn to start, and work that yields its lock."""

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from conductor.supervise.contexts import Contexts
from conductor.supervise.crontabs import CrontabFollower
from conductor.supervise.log import SupervisorLog
from conductor.supervise.task_cleanup import TaskCleanup
from tests.fakes.world import WEB
from tests.unit.supervise.conftest import SupervisedHost


def test_a_start_that_waited_while_the_definitions_changed_is_decided_again(tmp_path: Path) -> None:
    host = SupervisedHost(tmp_path, {"shop": WEB, "web": WEB})
    host.upgrade("r1")

    def define(count: int) -> None:
        host.define({service: {**WEB, "count": count} for service in ("shop", "web")})
        path = tmp_path / "services.yml"
        document = yaml.safe_load(path.read_text())
        document["host"]["supervise"] = {"starts_at_once": 1}
        path.write_text(yaml.safe_dump(document))

    define(2)
    host.supervise()
    host.run_pass()
    host.clock.advance(60.0)
    for service in ("shop", "web"):
        host.runtime.exit(min(one.id for one in host.replicas(service)))
    create, created = host.runtime.create, []

    def create_while_the_file_changes(spec: Any) -> str:
        if not created:
            define(1)
            host.file.reload(force=True)
        created.append(spec)
        return create(spec)

    host.runtime.create = create_while_the_file_changes  # type: ignore[method-assign]
    host.run_pass()
    assert len(created) == 1, "the other service has a replica, and now wants one"
    host.run_passes(10.0)
    assert (host.running("shop"), host.running("web")) == ({"r1": 1}, {"r1": 1})
    assert len(created) == 1


Begin = Callable[[SupervisedHost, Contexts], None]


def clean_up(host: SupervisedHost, contexts: Contexts) -> None:
    TaskCleanup(contexts, host.in_progress).begin_if_due({"web"})


def follow_definitions(host: SupervisedHost, contexts: Contexts) -> None:
    log = SupervisorLog(host.lines.append)
    CrontabFollower(contexts, host.in_progress, log, lambda: host.definitions).begin_if_due({"web"})


@pytest.mark.parametrize("begin", [clean_up, follow_definitions])
def test_work_that_yields_its_lock_ends_without_an_error(host: SupervisedHost, begin: Begin) -> None:
    """A command has taken the lock since the pass, and another one waits for it: `supervise --once` must not end with a traceback."""
    log = SupervisorLog(host.lines.append)
    contexts = Contexts(host._make_context, host.definitions, host.clock, log, host.ended, notify=lambda _one: None)
    locks = host.directory / "run" / "locks"
    with (locks / "web.lock").open("a") as held, (locks / "web.waiting.lock").open("a") as waiting:
        fcntl.flock(held, fcntl.LOCK_EX)
        fcntl.flock(waiting, fcntl.LOCK_SH)
        begin(host, contexts)
        host.in_progress.finish()
    assert host.lines == []
