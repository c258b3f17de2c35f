"""The supervisor status is read while `supervise` holds its lock, and by the next `supervise`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.plan.reason import AnyReason, AsWanted, Drifted, Mismatch, NeverDeployed, Paused
from conductor.plan.release import Hold
from conductor.state.files import write
from conductor.state.locks import Locks
from conductor.state.supervisor_status import (
    SUPERVISE_LOCK,
    ServiceStatus,
    SupervisorStatus,
    previous_services,
    read_status,
    status_path,
)

WEB = ServiceStatus(reason=Mismatch(wanted=1, healthy=0), text="1 wanted, 0 healthy", attempts=3, last=5.0)


def locks(directory: Path) -> Locks:
    return Locks(directory / "locks", "supervise", Clock(), SignalCancellation(), yields=True)


def write_status(directory: Path, pid: int) -> SupervisorStatus:
    status = SupervisorStatus(pid=pid, since="now", text="1 services", services={"web": WEB})
    write(status_path(str(directory)), status)
    return status


@contextmanager
def running(directory: Path) -> Iterator[None]:
    with locks(directory).hold(SUPERVISE_LOCK):
        yield


def test_without_the_lock_supervise_does_not_run(tmp_path: Path) -> None:
    assert read_status(str(tmp_path), locks(tmp_path)) is None
    write_status(tmp_path, os.getpid())
    assert read_status(str(tmp_path), locks(tmp_path)) is None


def test_the_status_of_the_lock_holder(tmp_path: Path) -> None:
    written = write_status(tmp_path, os.getpid())
    with running(tmp_path):
        assert read_status(str(tmp_path), locks(tmp_path)) == written


def test_before_its_first_pass_a_previous_status_is_not_shown(tmp_path: Path) -> None:
    write_status(tmp_path, os.getpid() + 1)
    with running(tmp_path):
        found = read_status(str(tmp_path), locks(tmp_path))
    assert found is not None
    assert (found.pid, found.services) == (os.getpid(), {})


def test_the_next_supervise_continues_from_it(tmp_path: Path) -> None:
    assert previous_services(str(tmp_path)) == {}
    write_status(tmp_path, 1)
    assert previous_services(str(tmp_path)) == {"web": WEB}
    status_path(str(tmp_path)).write_text("{")
    assert previous_services(str(tmp_path)) == {}


HOLD = Hold(reason="r", who="ada", since="2024-01-01T00:00:00.000Z")


@pytest.mark.parametrize(
    ("reason", "until", "expected"),
    [
        (AsWanted(), "", False),
        (NeverDeployed(), "", False),
        (Paused(HOLD), "", False),
        (Drifted(), "", True),
        (Mismatch(wanted=1, healthy=0), "", True),
        (AsWanted(), "2024-01-01T00:00:00.000Z", True),
    ],
)
def test_what_needs_attention(reason: AnyReason, until: str, expected: bool) -> None:
    assert ServiceStatus(reason=reason, text="t", until=until).needs_attention == expected


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (ServiceStatus(reason=AsWanted(), text="as wanted"), "as wanted"),
        (ServiceStatus(reason=Drifted(), text="t", until="12:00", attempts=1), "t; next action at 12:00, 1 attempt"),
        (ServiceStatus(reason=Drifted(), text="t", attempts=2), "t, 2 attempts"),
    ],
)
def test_text(status: ServiceStatus, text: str) -> None:
    assert str(status) == text
