"""A pause that begins between a pass and its actions is respected: it is read again under the service's lock."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conductor.change.context import Context
from conductor.cron.table import parse
from conductor.cron.wrap import wrap
from conductor.errors import ConductorError
from conductor.plan.reconcile import Observation, Recover
from conductor.plan.tasks import Task, task_spec
from conductor.state.locks import Locks
from conductor.supervise.act import act, clean_up
from conductor.supervise.crontabs import follow_definitions
from tests.unit.supervise.test_reconciler import interrupt, pause


class PausingLocks(Locks):
    """`supervise pause` has the lock immediately before each of its other holders."""

    host: Any

    @contextlib.contextmanager
    def hold(self, name: str, wait_seconds: float = 0.0) -> Iterator[None]:
        pause(self.host, name)
        with super().hold(name, wait_seconds):
            yield


def context(host: Any) -> Context:
    made: Context = host.context()
    locks = PausingLocks(Path(made.host.runtime_dir) / "locks", "supervise", host.clock, made.cancellation, yields=True)
    locks.host = host
    return msgspec.structs.replace(made, locks=locks)


def test_an_interrupted_change_is_not_recovered(host: Any) -> None:
    interrupt(host)
    began: list[bool] = []
    observation = Observation(wanted=host.store.wanted("web"), replicas=(), count=2, interrupted=True)
    with pytest.raises(ConductorError, match="web is paused"):
        act(
            context(host),
            "web",
            Recover(),
            observation,
            "c",
            started=lambda _reason: began.append(True),
            conditions=dict,
        )
    assert began == []
    assert host.store.journal("web") is not None


@pytest.mark.parametrize("defined", [True, False], ids=["installed", "removed"])
def test_the_crontab_stays_as_it_is(host: Any, defined: bool) -> None:
    text = wrap(parse("* * * * * bin/job\n"), service="web", revision="r1", program="/bin/conductor", config=None)
    host.context().crontabs.put("web", text)
    assert not follow_definitions(context(host), "web", defined=defined)
    assert host.crontab("web") == text
    assert not host.store.wanted("web").crontab_removed


@pytest.mark.parametrize("state", ["paused", "damaged"])
def test_tasks_are_not_removed_also_when_the_state_cannot_be_read(host: Any, state: str) -> None:
    definition, release = host.definitions.service("web"), host.store.wanted("web").release
    made = host.context()
    task = Task(service="web", kind="task", command=("true",))
    network = host.definitions.host.network.name
    spec = task_spec(task, definition, release, {}, instance="default", network=network, change="t1")
    host.runtime.start(host.runtime.create(spec))
    host.clock.advance(3600.0)
    if state == "damaged":
        (host.directory / "state" / "services" / "web.json").write_text("{")
    clean_up(context(host) if state == "paused" else made, "web")
    assert len(host.runtime.snapshot().tasks) == 1
