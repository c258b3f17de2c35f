"""The task runtime against Podman: a socket with the responses of each test. The first one tells the dialect."""

import json
from pathlib import Path
from urllib.parse import unquote

import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.runtime.docker.attach import NotStartedError, TaskRuntime
from conductor.runtime.docker.client import DockerRuntime
from conductor.runtime.docker.container_log import read_log
from conductor.runtime.docker.dialect import DOCKER, PODMAN
from conductor.runtime.port import ContainerEvent, LogUnreadable
from tests.unit.runtime.docker.test_attach import daemon

CAUSE = "OCI runtime attempted to invoke a command that was not found"
ERROR = f"crun: executable file `/nosuch` not found: No such file or directory: {CAUSE}"
STATE = {"Status": "created", "Running": False, "ExitCode": 0, "OOMKilled": False, "Error": ERROR}
INSPECTED = {"Id": "c1", "State": STATE, "Config": {}, "HostConfig": {}, "NetworkSettings": {"Networks": {}}}


def response(status: int, body: object) -> bytes:
    data = json.dumps(body)
    return f"HTTP/1.1 {status} X\r\nApi-Version: 1.41\r\nLibpod-API-Version: 5.4.2\r\nContent-Length: {len(data)}\r\n\r\n{data}".encode()


PING = response(200, "OK")
REFUSED = response(500, {"cause": CAUSE, "message": ERROR, "response": 500})


@pytest.fixture
def tasks(tmp_path: Path) -> TaskRuntime:
    return TaskRuntime(f"unix://{tmp_path / 'd'}", "default")


def lines(requests: list[bytes]) -> list[str]:
    return [request.partition(b" HTTP/")[0].decode() for request in requests]


def test_the_first_response_tells_the_dialect(tmp_path: Path, tasks: TaskRuntime) -> None:
    assert tasks.api.dialect is DOCKER
    with daemon(tmp_path / "d", pings=PING):
        tasks.ping()
    assert tasks.api.dialect is PODMAN


def test_a_container_is_killed_before_its_removal(tmp_path: Path, tasks: TaskRuntime) -> None:
    with daemon(tmp_path / "d", response(204, ""), response(204, ""), pings=PING) as requests:
        tasks.ping()
        tasks.remove("c1")
    assert lines(requests) == [
        "POST /v1.41/containers/c1/kill?signal=SIGKILL",
        "DELETE /v1.41/containers/c1?force=1&v=1",
    ]


def test_a_wait_begins_after_the_start(tmp_path: Path, tasks: TaskRuntime) -> None:
    with daemon(tmp_path / "d", response(204, ""), response(200, 4), pings=PING) as requests:
        tasks.ping()
        pending = tasks.wait("c1")
        tasks.start("c1", "true")
        assert pending.code() == 4
        pending.close()
    assert lines(requests) == ["POST /v1.41/containers/c1/start", "POST /v5.0.0/libpod/containers/c1/wait"]
    tasks.wait("c1").close()  # nothing was requested yet


def test_a_command_that_cannot_be_started_fails_at_the_attach(tmp_path: Path, tasks: TaskRuntime) -> None:
    tasks.api.dialect = PODMAN
    responses = (REFUSED, REFUSED, response(200, INSPECTED))
    with daemon(tmp_path / "d", *responses) as requests, pytest.raises(NotStartedError) as raised:
        tasks.attach("c1", "/nosuch")
    assert raised.value.code == 127
    assert raised.value.sentence == "cannot run /nosuch: executable file `/nosuch` not found: no such file or directory"
    assert [line.split("?")[0] for line in lines(requests)] == [
        "POST /v1.41/containers/c1/attach",
        "POST /v1.41/containers/c1/start",
        "GET /v1.41/containers/c1/json",
    ]


def test_an_attach_that_fails_for_another_reason_is_an_error(tmp_path: Path, tasks: TaskRuntime) -> None:
    refused = response(500, {"message": "no address is free"})
    tasks.api.dialect = PODMAN
    with daemon(tmp_path / "d", refused, response(204, "")), pytest.raises(ConductorError) as raised:
        tasks.attach("c1", "true")
    assert raised.value.sentence == "cannot attach to the task: no address is free"
    assert not isinstance(raised.value, NotStartedError)


def test_a_log_is_read_from_its_file(tmp_path: Path, tasks: TaskRuntime) -> None:
    log = tmp_path / "ctr.log"
    log.write_text("2026-11-29T19:54:03.123456789+00:00 stdout F one\n")
    stream = response(200, "")  # without a connection that is read, the log of the API is not used
    with daemon(tmp_path / "d", stream, response(200, {**INSPECTED, "LogPath": str(log)})):
        [line] = read_log(tasks, Clock(), "c1", 0, None, follow=False)
    assert (line.time, line.text) == ("2026-11-29T19:54:03.123456789Z", "one")


def test_a_log_without_a_file_cannot_be_read(tmp_path: Path, tasks: TaskRuntime) -> None:
    with (
        daemon(tmp_path / "d", response(200, ""), response(200, {**INSPECTED, "LogPath": ""})),
        pytest.raises(LogUnreadable),
    ):
        list(read_log(tasks, Clock(), "c1", 0, None, follow=False))


def test_the_log_of_a_container_that_was_removed_has_no_lines(tmp_path: Path, tasks: TaskRuntime) -> None:
    missing = response(404, {"message": "no such container"})
    with daemon(tmp_path / "d", response(200, ""), missing):
        assert list(read_log(tasks, Clock(), "c1", 0, None, follow=False)) == []


def test_events_have_names_of_its_own_and_include_those_of_other_containers(tmp_path: Path) -> None:
    """Podman sends the events of each container that has one of the labels."""
    ours = {"conductor.instance": "default", "conductor.kind": "service", "conductor.service": "web"}
    sent = [
        {"Action": action, "Actor": {"ID": container, "Attributes": labels}}
        for action, container, labels in (
            ("start", "c1", ours),
            ("die", "c2", {**ours, "conductor.kind": "cron"}),
            ("die", "c3", {**ours, "conductor.instance": "another"}),
            ("die", "c1", {**ours, "exitCode": "3"}),
            ("remove", "c1", ours),
        )
    ]
    chunks = [f"{json.dumps(one)}\n" for one in sent]
    body = "".join(f"{len(one):x}\r\n{one}\r\n" for one in [*chunks, ""])
    stream = f"HTTP/1.1 200 OK\r\nLibpod-API-Version: 5.4.2\r\nTransfer-Encoding: chunked\r\n\r\n{body}".encode()
    with daemon(tmp_path / "d", stream, pings=PING) as requests:
        runtime = DockerRuntime(f"unix://{tmp_path / 'd'}", "default", Clock(), SignalCancellation())
        assert list(runtime.events()) == [
            ContainerEvent("web", "c1", fewer=False),
            ContainerEvent("web", "c1", fewer=True, exited=True, exit_code=3),
            ContainerEvent("web", "c1", fewer=True),
        ]
    filters = json.loads(unquote(lines(requests)[0].partition("filters=")[2]).replace("+", " "))
    assert filters["event"] == ["start", "died", "remove", "pause", "unpause"]
