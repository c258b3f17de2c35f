"""Between a pass and the action that it decides, another process may change the service: then nothing is done."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec
import pytest

from conductor.change import actions
from conductor.errors import LockYielded
from conductor.plan.release import Hold
from conductor.supervise.observe import HostObservation
from tests.unit.supervise.conftest import SupervisedHost

HOLD = Hold(reason="holiday", who="ada", since="2024-01-01T00:00:00.000Z")


def pause(host: SupervisedHost) -> None:
    """The replicas stay the same, and so does the journal."""
    host.store.write_wanted(msgspec.structs.replace(host.store.wanted("web"), paused=HOLD))


def interrupted_change(host: SupervisedHost) -> None:
    """An upgrade that was killed before it created its first replica: replicas and wanted state stay the same."""
    host.runtime.fail("used_addresses", error=LockYielded())
    with pytest.raises(LockYielded):
        host.upgrade("r2")
    assert host.store.journal("web") is not None


def vanished_replica(host: SupervisedHost) -> None:
    """The wanted state and the journal stay the same."""
    host.runtime.vanish(max(one.id for one in host.replicas()))


def exited_replica(host: SupervisedHost) -> None:
    """The repair would keep it."""
    host.runtime.exit(max(one.id for one in host.replicas()))


def act_on(host: SupervisedHost, observed: HostObservation) -> None:
    """Let `supervise` do what it decides by `observed`."""
    result: Future[HostObservation] = Future()
    result.set_result(observed)
    host.results.take(result, None)
    host.in_progress.finish()


def state(host: Any) -> tuple[object, ...]:
    return host.store.wanted("web"), host.store.journal("web"), host.replicas(), host.traffic.routes["web"]


@pytest.mark.parametrize("change", [pause, interrupted_change, vanished_replica, exited_replica])
def test_a_service_that_has_changed_since_the_pass_is_left_as_it_is(
    host: SupervisedHost, change: Callable[[SupervisedHost], None]
) -> None:
    host.runtime.exit(min(one.id for one in host.replicas()))
    observed = host.observer.observe(runtime_restarted=False)
    change(host)
    before = state(host)
    act_on(host, observed)
    assert state(host) == before
    assert host.lines == []


def test_a_list_of_containers_from_before_a_change_is_no_reason_to_repair(host: SupervisedHost) -> None:
    """A pass lists the containers first. Until it reads the wanted state, a whole change may be made."""
    listed = host.runtime.containers()
    host.perform(actions.restart)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host.runtime, "containers", lambda: listed)
        observed = host.observer.observe(runtime_restarted=False)
    before = state(host)
    act_on(host, observed)
    assert state(host) == before
    assert host.lines == []
