"""The supervisor status is read while `supervise` holds its lock, and by the next `supervise`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.plan.reason import AnyReason, AsWanted, Drifted, Mismatch, NeverDeployed, Paused
from conductor.plan.release import Hold
from conductor.plan.route import TrafficState
from conductor.state.files import write
from conductor.state.locks import Locks
from conductor.state.supervisor_status import (
    SUPERVISE_LOCK,
    ServiceStatus,
    SupervisorStatus,
    previous_services,
    read_status,
    status_path,
    traffic_problem,
)

WEB = ServiceStatus(
    reason=Mismatch(wanted=1, healthy=0),
    text="1 wanted, 0 healthy",
    attempts=3,
    last_attempt="2024-01-01T00:00:05.000Z",
)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (TrafficState.RUNNING, ""),
        (
            TrafficState.NOT_LOADED,
            (
                "nginx is running without Conductor's files, so no requests reach the services behind it: "
                "conductor nginx install"
            ),
        ),
        (
            TrafficState.NOT_ANSWERING,
            (
                "nginx is running, but is not responding on Conductor's socket, so requests may fail: "
                "look for the cause in nginx's error log, for example too few worker_connections"
            ),
        ),
        (
            TrafficState.DOWN,
            "nginx is not running, so no requests reach the services behind it: systemctl start nginx",
        ),
        (
            TrafficState.FILES_MISSING,
            (
                "nginx is not running, so no requests reach the services behind it: "
                "conductor nginx install && systemctl start nginx"
            ),
        ),
    ],
)
def test_problems_of_the_traffic_layer(state: TrafficState, text: str) -> None:
    assert traffic_problem(state) == text


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


def test_the_number_that_earlier_versions_wrote_is_ignored(tmp_path: Path) -> None:
    write_status(tmp_path, os.getpid())
    path = status_path(str(tmp_path))
    path.write_text(path.read_text().replace('"last_attempt": "2024-01-01T00:00:05.000Z"', '"last": 1767225600'))
    with running(tmp_path):
        found = read_status(str(tmp_path), locks(tmp_path))
    assert found is not None
    expected = {"web": msgspec.structs.replace(WEB, last_attempt=None)}
    assert found.services == previous_services(str(tmp_path)) == expected


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
        (
            ServiceStatus(reason=AsWanted(), text="as wanted", attempts=2),
            "as wanted after 2 repair attempts (the count resets once the service has been healthy for 1m)",
        ),
        (
            ServiceStatus(reason=Drifted(), text="t", until="12:00", attempts=1),
            "t; next action at 12:00, 1 attempt so far",
        ),
        (ServiceStatus(reason=Drifted(), text="t", attempts=2), "t, 2 attempts so far"),
    ],
)
def test_text(status: ServiceStatus, text: str) -> None:
    assert str(status) == text
