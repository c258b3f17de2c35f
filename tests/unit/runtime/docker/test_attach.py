"""The task runtime against a daemon that answers with errors, or not completely: a socket with the responses of each test."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.definitions.model import Definition, JoinedNetwork, Service
from conductor.errors import ConductorError
from conductor.output import verbosity
from conductor.plan.tasks import Task, task_spec
from conductor.plan.transition import new_release
from conductor.runtime.docker.attach import NotStartedError, TaskRuntime
from conductor.runtime.docker.dialect import API
from conductor.runtime.port import RuntimeUnavailable


def response(status: int, body: str, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} Answer\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def ping(newest: str = API, *, supported: bool = False) -> bytes:
    """The answer of a daemon to a ping with a version that it supports or not."""
    return response(200 if supported else 400, "", f"Api-Version: {newest}\r\n")


OLD = ping()


@contextlib.contextmanager
def daemon(path: Path, *responses: bytes, pings: bytes = OLD) -> Iterator[list[bytes]]:
    """Answer one request per connection, in order; yield the requests received. Pings are answered by `pings` and left out."""
    requests: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            left = iter(responses)
            with contextlib.suppress(OSError):
                while True:
                    with listening.accept()[0] as connection:
                        request = connection.recv(65536)
                        if b"/_ping " in request:
                            connection.sendall(pings)
                        else:
                            requests.append(request)
                            connection.sendall(next(left))

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield requests
        listening.shutdown(socket.SHUT_RDWR)  # ends the `accept`
        serving.join(5)


INVALID = {
    "no response": b"",
    "a part of the body": response(200, '{"Id": 1}')[:-3],
    "not HTTP": b"hello there, this is not a web server\r\n\r\n",
}


@pytest.mark.parametrize("raw", INVALID.values(), ids=INVALID)
def test_an_incomplete_response_means_unavailable(tmp_path: Path, raw: bytes) -> None:
    with daemon(tmp_path / "d", pings=raw), pytest.raises(RuntimeUnavailable) as raised:
        TaskRuntime(f"unix://{tmp_path / 'd'}", "default").ping()
    assert raised.value.sentence == "cannot reach Docker: the connection to Docker was lost"


def test_the_requests(tmp_path: Path) -> None:
    upgraded = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    with daemon(tmp_path / "d", response(200, "[]"), upgraded) as requests:
        tasks = TaskRuntime(f"unix://{tmp_path / 'd'}", "default")
        assert tasks.unfinished("web", "é") == ()
        tasks.attach("c1").close()
    listed = requests[0].split(b" ")[1].decode()
    assert listed.startswith(
        "/v1.41/containers/json?all=1&filters=%7B%22label%22%3A%20%5B%22conductor.instance%3Ddefault"
    )
    assert requests[0].endswith(b" HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n")
    assert requests[1].endswith(b"Content-Length: 0\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304, 404])
def test_a_stop_passes_the_grace_period_and_accepts_a_task_that_has_ended(tmp_path: Path, status: int) -> None:
    with daemon(tmp_path / "d", response(status, "")) as requests:
        TaskRuntime(f"unix://{tmp_path / 'd'}", "default").stop("c1", 1.5)
    assert requests[0].startswith(b"POST /v1.41/containers/c1/stop?t=2 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("pings", "used"),
    [
        (ping("1.41"), "1.41"),  # Docker 20.10
        (ping("1.45", supported=True), "1.45"),  # Docker 26.1
        (ping("1.52", supported=True), "1.45"),  # Docker 29
        (ping("1.41", supported=True), "1.41"),  # Podman, which accepts any version
        (response(200, "OK"), "1.41"),
    ],
)
def test_the_version_of_the_api_is_negotiated_once(tmp_path: Path, pings: bytes, used: str) -> None:
    with daemon(tmp_path / "d", response(200, "[]"), response(204, ""), pings=pings) as requests:
        tasks = TaskRuntime(f"unix://{tmp_path / 'd'}", "default")
        tasks.containers()
        tasks.stop("c1", 1)
    assert [request.split(b"/")[1].decode() for request in requests] == [f"v{used}"] * 2


def test_a_daemon_that_knows_only_newer_versions_gets_its_oldest(tmp_path: Path) -> None:
    version = response(200, '{"ApiVersion": "1.60", "MinAPIVersion": "1.50"}')
    with daemon(tmp_path / "d", version, response(200, "[]"), pings=ping("1.60")) as requests:
        TaskRuntime(f"unix://{tmp_path / 'd'}", "default").containers()
    assert [request.split(b"/")[1] for request in requests] == [b"version HTTP", b"v1.50"]


def test_a_lost_connection_may_mean_a_daemon_of_another_version(tmp_path: Path) -> None:
    tasks = TaskRuntime(f"unix://{tmp_path / 'd'}", "default")
    with daemon(tmp_path / "d", b""), pytest.raises(RuntimeUnavailable):
        tasks.containers()
    (tmp_path / "d").unlink()
    with daemon(tmp_path / "d", response(200, "[]"), pings=ping("1.45", supported=True)) as requests:
        tasks.containers()
    assert requests[0].startswith(b"GET /v1.45/containers/json")


def test_a_task_joins_its_additional_networks(tmp_path: Path) -> None:
    networks = (JoinedNetwork(name="data base", aliases=("shop",)), "monitoring")
    definition = Definition(id="web", service=Service(image="shop", networks=networks), written={}, digest="d")
    task = Task(service="web", kind="task", command=("true",))
    release = new_release(definition, "r1", "sha256:1", "c1")
    spec = task_spec(task, definition, release, {}, instance="default", network="n", change="c1")
    missing = response(404, '{"message": "network monitoring not found"}')
    responses = (response(201, '{"Id": "c1"}'), response(200, ""), missing)
    with daemon(tmp_path / "d", *responses) as requests, pytest.raises(ConductorError) as raised:
        TaskRuntime(f"unix://{tmp_path / 'd'}", "default").create(spec)
    assert raised.value.sentence == f"cannot connect {spec.name} to network monitoring: network monitoring not found"
    assert requests[1].startswith(b"POST /v1.41/networks/data%20base/connect HTTP/1.1\r\n")
    assert requests[1].endswith(b'{"Container": "c1", "EndpointConfig": {"Aliases": ["shop"]}}')


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"message": "a full disk: unknown"}', "a full disk"),
        ("no json", "Docker returned 500"),
        ("[1]", "Docker returned 500"),
    ],
)
def test_an_error_has_the_daemons_message(tmp_path: Path, body: str, message: str) -> None:
    with daemon(tmp_path / "d", pings=response(500, body)), pytest.raises(ConductorError) as raised:
        TaskRuntime(f"unix://{tmp_path / 'd'}", "default").ping()
    assert raised.value.sentence == f"cannot reach Docker: {message}"
    assert not isinstance(raised.value, RuntimeUnavailable)


@pytest.mark.parametrize("body", ["{", '{"Id": 1', "[1,", "[" * 100_000], ids=["{", "cut", "list", "deep"])
def test_a_response_that_is_not_json(tmp_path: Path, body: str) -> None:
    with daemon(tmp_path / "d", response(200, body)), pytest.raises(ConductorError) as raised:
        TaskRuntime(f"unix://{tmp_path / 'd'}", "default").image("shop:r1")
    assert raised.value.sentence.startswith("cannot inspect image shop:r1: unexpected response from Docker (")


def test_a_version_that_is_not_json(tmp_path: Path) -> None:
    newer = ping(newest="1.60")
    with daemon(tmp_path / "d", response(200, "<html>"), pings=newer), pytest.raises(ConductorError) as raised:
        TaskRuntime(f"unix://{tmp_path / 'd'}", "default").ping()
    assert raised.value.sentence.startswith("cannot reach Docker: unexpected response from Docker (JSON is malformed")


@pytest.mark.parametrize("body", ["", "{", "null", "[]", "{}", '{"StatusCode": null}', '{"StatusCode": "x"}'])
def test_an_exit_code_that_cannot_be_read(tmp_path: Path, body: str) -> None:
    with daemon(tmp_path / "d", response(200, body)):
        pending = TaskRuntime(f"unix://{tmp_path / 'd'}", "default").wait("c1")
        with contextlib.closing(pending), pytest.raises(ConductorError) as raised:
            pending.code()
    assert raised.value.sentence == "cannot read the task's exit code: the connection to Docker was lost"


STARTS = {
    "not found": ("created", 127, 127),
    "not executable": ("created", 126, 126),
    "a full disk": ("created", 0, 125),
    "a port in use": ("created", 128, 125),
    "it runs": ("running", 0, None),
    "it has exited": ("exited", 3, None),
}


@pytest.mark.parametrize(("status", "exit_code", "code"), STARTS.values(), ids=STARTS)
def test_a_start_whose_response_is_an_error(tmp_path: Path, status: str, exit_code: int, code: int | None) -> None:
    failed = response(400, '{"message": "runc create failed: unable to start container process: exec: no"}')
    state = {"Status": status, "Running": status == "running", "ExitCode": exit_code, "OOMKilled": False}
    found = {"State": state, "Config": {}, "NetworkSettings": {"Networks": {}}}
    with daemon(tmp_path / "d", failed, response(200, json.dumps(found))):
        tasks = TaskRuntime(f"unix://{tmp_path / 'd'}", "default")
        if code is None:
            tasks.start("c1", "bin/x")
            return
        with pytest.raises(NotStartedError) as raised:
            tasks.start("c1", "bin/x")
    assert (raised.value.sentence, raised.value.code) == ("cannot run bin/x: exec: no", code)


def test_an_address_without_support_for_tasks() -> None:
    with pytest.raises(ConductorError, match="cannot run tasks over ssh://host"):
        TaskRuntime("ssh://host", "default")


def test_with_verbose_the_calls_of_tasks_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = TaskRuntime(f"unix://{tmp_path / 'd'}", "default")
    verbosity.choose(verbosity.Verbosity.VERBOSE)
    try:
        with daemon(tmp_path / "d", response(200, "[]"), response(404, "{}"), b""):
            tasks.unfinished("web", "é")
            tasks.has_network("n")
            with pytest.raises(RuntimeUnavailable):
                tasks.has_network("m")
    finally:
        verbosity.choose(verbosity.Verbosity.NORMAL)
    negotiation, listed, network, lost = capsys.readouterr().err.splitlines()
    assert negotiation.startswith("  docker  GET /v1.45/_ping: 400 in ")
    assert listed.startswith(
        '  docker  GET /v1.41/containers/json?all=1&filters={"label": ["conductor.instance=default"'
    )
    assert network.startswith("  docker  GET /v1.41/networks/n: 404 in ")
    assert lost.startswith("  docker  GET /v1.41/networks/m: no response in ")


def test_the_tags_of_an_image(tmp_path: Path) -> None:
    images = [
        {"Created": 1, "RepoTags": ["host:5000/shop:a", "host:5000/shop/b:c"]},
        {"Created": 2, "RepoTags": ["host:5000/shop:b"]},
        {"Created": 3, "RepoTags": None},
    ]
    images = [{"Id": "", "ParentId": "", "Size": 1, **image} for image in images]
    with daemon(tmp_path / "d", response(200, json.dumps(images))):
        assert TaskRuntime(f"unix://{tmp_path / 'd'}", "default").tags("host:5000/shop", 5) == ("b", "a")
