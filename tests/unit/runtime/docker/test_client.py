"""The Docker runtime against a daemon that is silent, closes connections, or reports errors: each test sets its responses."""

import base64
import contextlib
import gc
import itertools
import json
import os
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import msgspec
import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.definitions.model import Dns, JoinedNetwork, Logging, Stop
from conductor.errors import ConductorError, Interrupted
from conductor.output import verbosity
from conductor.plan.container_spec import ContainerSpec
from conductor.runtime.docker import health_commands
from conductor.runtime.docker.attach import TaskRuntime
from conductor.runtime.docker.client import DEADLINE_SECONDS, DockerRuntime
from conductor.runtime.docker.out_of_memory import ANSWER_SECONDS, LATE_SECONDS
from conductor.runtime.docker.responses import read_frames
from conductor.runtime.port import RuntimeUnavailable
from tests.fakes.runtime import FakeCancellation, FakeClock

CLOCK = FakeClock()
ID = "f" * 64
IMAGE = "registry.example/app:r1"
STATE = {"Status": "running", "Running": True, "ExitCode": 0, "OOMKilled": False, "Error": ""}
INSPECTED = {
    "Id": ID,
    "Name": "/web-r1-1",
    "State": STATE,
    "Config": {"Labels": {}},
    "NetworkSettings": {"Networks": {}},
}
PING = "GET /v1.45/_ping"
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One request per connection; the test sets the answers."""

    protocol_version = "HTTP/1.1"
    rbufsize = 0  # a body stays unread until `body` is called
    server: "Daemon"

    def do_GET(self) -> None:
        request = f"{self.command} {self.path.partition('?')[0].partition('/v1.41')[2] or self.path}"
        self.server.requests.append(request)
        self.close_connection = True
        self.server.answers[request](self)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def body(self) -> bytes:
        data, size = b"", int(self.headers.get("Content-Length", "0"))
        while len(data) < size:
            data += self.rfile.read(size - len(data))
        del self.headers["Content-Length"]
        return data

    def send(self, value: object, status: int = 200) -> None:
        self.body()
        data = b"" if status == 204 else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def pong(self, newest: str, *, supported: bool = False) -> None:
        self.send_response(200 if supported else 400)
        self.send_header("Api-Version", newest)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, *_: object) -> None:
        pass


class Daemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.requests: list[str] = []
        self.answers: dict[str, Answer] = {
            PING: lambda h: h.pong("1.41"),
            "GET /version": lambda h: h.send({"ApiVersion": "1.41"}),
            f"GET /containers/{ID}/json": lambda h: h.send(INSPECTED),
        }

    def handle_error(self, *_: object) -> None:
        pass


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path / "docker.sock") as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def runtime(daemon: Daemon, tmp_path: Path) -> DockerRuntime:
    return DockerRuntime(f"unix://{tmp_path}/docker.sock", "test", Clock(), SignalCancellation())


@pytest.mark.parametrize(
    ("newest", "supported", "used"),
    [
        ("1.41", False, "1.41"),  # Docker 20.10
        ("1.45", True, "1.45"),  # Docker 26.1
        ("1.52", True, "1.45"),  # Docker 29
    ],
)
def test_the_version_of_the_api_is_negotiated(
    daemon: Daemon, runtime: DockerRuntime, newest: str, supported: bool, used: str
) -> None:
    daemon.answers[PING] = lambda h: h.pong(newest, supported=supported)
    request = "GET /info" if used == "1.41" else f"GET /v{used}/info"  # `Handler` leaves out v1.41
    daemon.answers[request] = lambda h: h.send({"SystemTime": ""})
    runtime.daemon()
    assert daemon.requests == [PING, request, "GET /version"]


def test_a_daemon_that_was_upgraded_gets_its_own_version(daemon: Daemon, runtime: DockerRuntime) -> None:
    def end(handler: Handler) -> None:
        handler.begin_stream()
        handler.chunk(b"")

    daemon.answers["GET /events"] = end
    assert list(runtime.events()) == []
    daemon.answers[PING] = lambda h: h.pong("1.60")
    daemon.answers["GET /version"] = lambda h: h.send({"ApiVersion": "1.60", "MinAPIVersion": "1.50"})
    daemon.answers["GET /v1.50/info"] = lambda h: h.send({"SystemTime": ""})
    runtime.daemon()
    daemon.answers["GET /v1.50/info"] = lambda handler: None
    with pytest.raises(RuntimeUnavailable):
        runtime.daemon()
    daemon.answers[PING] = lambda h: h.pong("1.41")
    daemon.answers["GET /info"] = lambda h: h.send({"SystemTime": ""})
    runtime.daemon()


def fails(status: int = 500) -> Answer:
    return lambda handler: handler.send({"message": "the disk is full"}, status)


def test_a_silent_pull_can_be_stopped_at_once(daemon: Daemon, runtime: DockerRuntime) -> None:
    over = threading.Event()

    def silent(handler: Handler) -> None:
        handler.begin_stream()
        handler.chunk(b'{"status": "Downloading", "id": "abc"}\r\n')
        over.wait(20)

    daemon.answers["POST /images/create"] = silent
    statuses: list[str] = []

    def progress(text: str) -> None:
        statuses.append(text)
        if len(statuses) == 10:
            raise Interrupted(2)

    began = time.monotonic()
    with pytest.raises(Interrupted):
        runtime.pull(IMAGE, progress)
    over.set()
    assert time.monotonic() - began < 10  # half of the silence
    assert statuses[-1] == "0 of 1 layers"


@pytest.fixture
def still(daemon: Daemon, tmp_path: Path) -> DockerRuntime:
    """A runtime whose clock stands still, so that a busy machine changes nothing."""
    return DockerRuntime(f"unix://{tmp_path}/docker.sock", "test", CLOCK, SignalCancellation())


def exited(daemon: Daemon, code: int = 137, *, flagged: bool = False, ago: float = 0.0) -> None:
    """Let the container have exited `ago` seconds ago."""
    state = {
        "Status": "exited",
        "Running": False,
        "ExitCode": code,
        "OOMKilled": flagged,
        "FinishedAt": CLOCK.stamp_of(CLOCK.wall() - ago),
    }
    daemon.answers[f"GET /containers/{ID}/json"] = lambda h: h.send({**INSPECTED, "State": state})


def kernel_reports(daemon: Daemon, after: float | None) -> list[dict[str, str]]:
    """Let the daemon have an event of the kill, so many seconds after now. Return the queries of the requests."""
    queries: list[dict[str, str]] = []

    def stream(handler: Handler) -> None:
        queries.append(dict(parse_qsl(handler.path.partition("?")[2])))
        handler.begin_stream()
        if after is not None and CLOCK.wall() + after <= float(queries[-1]["until"]):
            handler.chunk(b'{"Action": "oom"}\r\n')
        handler.chunk(b"")

    daemon.answers["GET /events"] = stream
    return queries


@pytest.mark.parametrize(
    ("after", "wait", "expected"),
    [(0.0, False, True), (0.0, True, True), (0.7, True, True), (0.7, False, False), (None, True, False)],
)
def test_a_kill_by_the_kernel_that_only_an_event_reports(
    daemon: Daemon, still: DockerRuntime, after: float | None, wait: bool, expected: bool
) -> None:
    exited(daemon)
    queries = kernel_reports(daemon, after)
    state = still.inspect_exit(ID, wait=wait)
    assert state is not None
    assert (state.exit_code, state.out_of_memory) == (137, expected)
    assert json.loads(queries[0]["filters"]) == {"type": ["container"], "container": [ID], "event": ["oom"]}
    assert float(queries[0]["until"]) <= CLOCK.wall() + (1 + LATE_SECONDS if wait else 0)


@pytest.mark.parametrize(("code", "flagged"), [(137, True), (1, False), (0, False)])
def test_a_reason_that_is_known_needs_no_events(
    daemon: Daemon, runtime: DockerRuntime, code: int, flagged: bool
) -> None:
    exited(daemon, code, flagged=flagged)
    state = runtime.inspect_exit(ID, wait=True)
    assert state is not None
    assert state.out_of_memory is flagged
    assert "GET /events" not in daemon.requests


def test_an_exit_long_ago_is_not_waited_for(daemon: Daemon, still: DockerRuntime) -> None:
    exited(daemon, ago=60.0)
    queries = kernel_reports(daemon, None)
    state = still.inspect_exit(ID, wait=True)
    assert state is not None
    assert not state.out_of_memory
    assert float(queries[0]["until"]) < CLOCK.wall()


@pytest.mark.parametrize("wait", [False, True])
def test_a_clock_that_is_behind_that_of_the_daemon_delays_nothing(
    daemon: Daemon, still: DockerRuntime, wait: bool
) -> None:
    """The daemon is on another host, or the clock was set back since the exit."""
    exited(daemon, ago=-3600.0)
    queries = kernel_reports(daemon, None)
    state = still.inspect_exit(ID, wait=wait)
    assert state is not None
    assert not state.out_of_memory
    assert float(queries[0]["until"]) <= CLOCK.wall() + (1 + LATE_SECONDS if wait else 0)


@pytest.mark.parametrize("wait", [False, True])
def test_a_stream_of_events_ends_soon_also_by_a_clock_of_the_daemon_that_is_behind(
    daemon: Daemon, still: DockerRuntime, wait: bool
) -> None:
    exited(daemon, ago=3600.0)
    queries = kernel_reports(daemon, None)
    still.inspect_exit(ID, wait=wait)
    assert float(queries[0]["until"]) <= CLOCK.wall() - 3600.0 + LATE_SECONDS + 1.0


def test_events_that_cannot_be_read_leave_the_state_as_it_is(daemon: Daemon, runtime: DockerRuntime) -> None:
    exited(daemon)
    daemon.answers["GET /events"] = fails()
    state = runtime.inspect_exit(ID, wait=True)
    assert state is not None
    assert (state.exit_code, state.out_of_memory) == (137, False)


@pytest.mark.parametrize("sent", [b"", b'{"Act'])
def test_a_daemon_that_sends_no_event_and_no_end_is_not_waited_for(
    daemon: Daemon, runtime: DockerRuntime, sent: bytes
) -> None:
    exited(daemon)
    over = threading.Event()

    def silent(handler: Handler) -> None:
        handler.begin_stream()
        if sent:
            handler.chunk(sent)
        over.wait(60)

    daemon.answers["GET /events"] = silent
    began = time.monotonic()
    state = runtime.inspect_exit(ID, wait=False)
    took = time.monotonic() - began
    over.set()
    assert state is not None
    assert not state.out_of_memory
    assert took < ANSWER_SECONDS + 25.0  # not the end of the silence


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ([b'{"status": "Pulling"}\r\n', b'{"error": "manifest unknown"}\r\n'], "manifest unknown"),
        ([b'{"error": "write /x: no space left on device"}\r\n'], "write /x: no space left on device"),
        ([b'{"status": "Pulling"}\r\n', None], "the connection to Docker was lost"),
        ([b'{"status": "Pul', None], "the connection to Docker was lost"),
    ],
    ids=["an error in the stream", "a full disk", "a closed connection", "a closed connection inside a message"],
)
def test_a_pull_that_fails(daemon: Daemon, runtime: DockerRuntime, pieces: list[bytes | None], why: str) -> None:
    def stream(handler: Handler) -> None:
        handler.begin_stream()
        for piece in pieces:
            if piece is None:
                return
            handler.chunk(piece)
        handler.chunk(b"")

    daemon.answers["POST /images/create"] = stream
    with pytest.raises(ConductorError) as caught:
        runtime.pull(IMAGE, lambda _: None)
    assert caught.value.sentence == f"cannot pull image {IMAGE}: {why}"
    assert ("docker system df" in caught.value.hint) is ("space" in why)


@pytest.mark.parametrize(("image", "local"), [("app:r1", True), ("team/app:r1", True), (IMAGE, False)])
def test_an_image_without_a_registry_may_be_a_local_one(
    daemon: Daemon, runtime: DockerRuntime, image: str, *, local: bool
) -> None:
    def stream(handler: Handler) -> None:
        handler.begin_stream()
        handler.chunk(b'{"error": "pull access denied"}\r\n')
        handler.chunk(b"")

    daemon.answers["POST /images/create"] = stream
    with pytest.raises(ConductorError) as caught:
        runtime.pull(image, lambda _: None)
    assert caught.value.hint.startswith("if the image is not in a registry, build or load it on this host; ") is local


def test_a_pull_that_succeeds(daemon: Daemon, runtime: DockerRuntime) -> None:
    def stream(handler: Handler) -> None:
        handler.begin_stream()
        handler.chunk(b'{"status": "Pulling fs layer", "id": "a"}\r\n{"status": "Pull complete", "id": "a"}\r\n')
        handler.chunk(b"")

    daemon.answers["POST /images/create"] = stream
    daemon.answers[f"GET /images/{IMAGE}/json"] = lambda h: h.send(
        {"Id": "sha256:1", "RepoDigests": ["elsewhere/app@sha256:a", "registry.example/app@sha256:b"]}
    )
    statuses: list[str] = []
    assert runtime.pull(IMAGE, statuses.append) == ("sha256:1", "registry.example/app@sha256:b", (), 0)
    assert list(filter(None, dict.fromkeys(statuses))) == ["0 of 1 layers", "1 of 1 layers"]  # a late daemon: repeated


def test_a_pull_by_digest(daemon: Daemon, runtime: DockerRuntime) -> None:
    """The digest stands where a tag does (`fromImage` and `tag` of the Engine API)."""
    reference, queries = "registry.example:5000/app@sha256:b", list[str]()

    def stream(handler: Handler) -> None:
        queries.append(unquote(handler.path.partition("?")[2]))
        handler.begin_stream()
        handler.chunk(b"")

    daemon.answers["POST /images/create"] = stream
    found = {"Id": "sha256:1", "RepoDigests": [reference]}
    daemon.answers[f"GET /images/{quote(reference, safe='/:')}/json"] = lambda h: h.send(found)
    assert runtime.pull(reference, lambda _: None) == ("sha256:1", reference, (), 0)
    assert sorted(queries[0].split("&")) == ["fromImage=registry.example:5000/app", "tag=sha256:b"]


def test_a_check_whose_connection_is_reset_fails(daemon: Daemon, runtime: DockerRuntime) -> None:
    daemon.answers[f"POST /containers/{ID}/exec"] = lambda h: h.send({"Id": "e1"}, 201)

    def reset(handler: Handler) -> None:
        handler.send_response(101)
        handler.send_header("Upgrade", "tcp")
        handler.end_headers()
        handler.connection.recv(
            1, socket.MSG_PEEK
        )  # its body has arrived and stays unread, so closing resets the connection
        os.close(handler.connection.detach())

    daemon.answers["POST /exec/e1/start"] = reset
    result = runtime.execute(ID, ("true",), 2.0)
    assert (result.ok, result.error) == (False, "lost the connection to true: Connection reset by peer")


def answers_slowly(daemon: Daemon, *, running: bool) -> list[str]:
    """Let a command run without end; return the list of the commands that were started."""
    started: list[str] = []

    def create(handler: Handler) -> None:
        started.append("exec")
        handler.send({"Id": "e1"}, 201)

    def hang(handler: Handler) -> None:
        handler.body()
        handler.send_response(101)
        handler.send_header("Upgrade", "tcp")
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.connection.sendall(b"\1\0\0\0\0\0\0\4loop")

    daemon.answers[f"POST /containers/{ID}/exec"] = create
    daemon.answers["POST /exec/e1/start"] = hang
    daemon.answers["GET /exec/e1/json"] = lambda h: h.send({"Running": running, "Pid": 0, "ExitCode": None})
    return started


def test_a_check_that_prints_without_end_times_out(daemon: Daemon, runtime: DockerRuntime) -> None:
    answers_slowly(daemon, running=False)
    result = runtime.execute(ID, ("true",), 0.3)
    assert (result.ok, result.error, result.output) == (False, "true did not finish within 0.3s", "")


def test_the_time_limit_of_a_check_begins_when_it_was_started(daemon: Daemon, tmp_path: Path) -> None:
    """A daemon that is slow for all containers must not make healthy ones look unhealthy."""
    clock = FakeClock()
    runtime = DockerRuntime(f"unix://{tmp_path}/docker.sock", "test", clock, SignalCancellation())

    def create(handler: Handler) -> None:
        clock.advance(30.0)
        handler.send({"Id": "e1"}, 201)

    def end(handler: Handler) -> None:
        handler.body()
        handler.send_response(101)
        handler.send_header("Upgrade", "tcp")
        handler.end_headers()

    daemon.answers[f"POST /containers/{ID}/exec"] = create
    daemon.answers["POST /exec/e1/start"] = end
    daemon.answers["GET /exec/e1/json"] = lambda h: h.send({"Running": False, "Pid": 0, "ExitCode": 0})
    result = runtime.execute(ID, ("true",), 5.0)
    assert (result.ok, result.error) == (True, "")


def test_commands_that_hung_in_containers_that_are_gone_are_forgotten(
    daemon: Daemon, runtime: DockerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`supervise` runs for months, and replaces each container whose check hangs."""
    monkeypatch.setattr(health_commands, "REMEMBERED", 2)
    started = answers_slowly(daemon, running=True)
    containers = [f"{number}{ID[1:]}" for number in range(3)]
    for one in containers:
        daemon.answers[f"POST /containers/{one}/exec"] = daemon.answers[f"POST /containers/{ID}/exec"]
        runtime.execute(one, ("true",), 0.01)
    for one in reversed(containers):
        runtime.execute(one, ("true",), 0.01)
    assert len(started) == 4, "only the oldest one was forgotten"


def test_a_check_that_cannot_be_killed_runs_alone(daemon: Daemon, runtime: DockerRuntime) -> None:
    """For example in a daemon on another host."""
    started = answers_slowly(daemon, running=True)
    runtime.execute(ID, ("true",), 0.1)
    result = runtime.execute(ID, ("true",), 0.1)
    assert (result.ok, result.error, result.unknown) == (False, "true from an earlier check is still running", False)
    assert len(started) == 1
    daemon.answers["GET /exec/e1/json"] = fails(404)
    runtime.execute(ID, ("true",), 0.1)
    assert len(started) == 2


def test_only_the_end_of_a_long_output_is_kept() -> None:
    ours, theirs = socket.socketpair()

    def write() -> None:
        for number in range(1000):
            theirs.sendall(b"\1\0\0\0" + (1008).to_bytes(4) + b"%08d" % number + b"x" * 1000)
        theirs.sendall(b"\1\0\0\0\0\0\0\3end\2\0\0\0\0\0\0\x09cut")  # the last frame is incomplete
        theirs.close()

    threading.Thread(target=write, daemon=True).start()
    output = read_frames(ours, lambda: 5.0, 1100)
    assert (len(output), output[-6:]) == (1100, b"endcut")


def spec(*joined: JoinedNetwork) -> ContainerSpec:
    return ContainerSpec(
        name="web-r1-1", image_id="sha256:1", command=None, entrypoint=None, environment={"A": "b"},
        labels={"conductor.change": "u1"}, user=None, workdir=None, network="n", ip=None, publish=None, volumes=(),
        tmpfs=(), memory=None, cpus=None, shm_size=None, init=True, read_only=False, cap_add=(), cap_drop=(), ulimits={},
        extra_hosts={}, logging=Logging(), stop=Stop(), devices=(), security_opt=(), sysctls={}, pids_limit=None,
        hostname=None, dns=Dns(), joined=joined,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "running", "fails_with"), [(409, False, ""), (404, None, ""), (500, True, "daemon")]
)
def test_a_signal_to_a_container_that_has_exited_is_no_error(
    daemon: Daemon, runtime: DockerRuntime, status: int, running: bool | None, fails_with: str
) -> None:
    daemon.answers[f"POST /containers/{ID}/kill"] = fails(status)
    state = {"Status": "", "Running": running, "ExitCode": 0, "OOMKilled": False}
    found = {"State": state, "Config": {}, "NetworkSettings": {"Networks": {}}}
    daemon.answers[f"GET /containers/{ID}/json"] = fails(404) if running is None else lambda h: h.send(found)
    if not fails_with:
        runtime.signal(ID, "SIGTERM")
        return
    with pytest.raises(ConductorError, match=r"^cannot send SIGTERM to container"):
        runtime.signal(ID, "SIGTERM")


CONNECT = "POST /networks/monitoring/connect"


def test_a_container_joins_its_additional_networks(daemon: Daemon, runtime: DockerRuntime) -> None:
    bodies: list[Any] = []

    def connect(handler: Handler) -> None:
        bodies.append(json.loads(handler.body()))
        handler.send({})

    daemon.answers["POST /containers/create"] = lambda h: h.send({"Id": ID}, 201)
    daemon.answers[CONNECT] = connect
    assert runtime.create(spec(JoinedNetwork(name="monitoring", aliases=("web", "shop")))) == ID
    assert (bodies[0]["Container"], bodies[0]["EndpointConfig"]["Aliases"]) == (ID, ["web", "shop"])


def test_a_connection_that_an_earlier_request_made_is_no_error(daemon: Daemon, runtime: DockerRuntime) -> None:
    networks: dict[str, Any] = {"n": {"IPAddress": ""}, "monitoring": {"IPAddress": ""}}
    found = {**INSPECTED, "NetworkSettings": {"Networks": networks}}
    daemon.answers["POST /containers/create"] = lambda h: h.send({"Id": ID}, 201)
    daemon.answers[CONNECT] = fails(500)
    daemon.answers[f"GET /containers/{ID}/json"] = lambda h: h.send(found)
    assert runtime.create(spec(JoinedNetwork(name="monitoring"))) == ID
    del networks["monitoring"]
    with pytest.raises(ConductorError, match=r"^cannot connect web-r1-1 to network monitoring: "):
        runtime.create(spec(JoinedNetwork(name="monitoring")))


@pytest.mark.parametrize(("wanted", "missing"), [(["monitor"], "monitor"), (["monitoring", "db"], "db")])
def test_additional_networks_must_exist(
    daemon: Daemon, runtime: DockerRuntime, wanted: list[str], missing: str
) -> None:
    runtime.check_networks([])
    daemon.answers["GET /networks"] = lambda h: h.send([{"Name": "monitoring"}])  # the daemon finds parts of names too
    runtime.check_networks(["monitoring"])
    with pytest.raises(ConductorError) as raised:
        runtime.check_networks(wanted)
    assert raised.value.sentence == f"cannot connect containers to network {missing}: it does not exist"


def test_the_address_of_a_container_is_that_on_conductors_own_network(daemon: Daemon, runtime: DockerRuntime) -> None:
    networks = {"another": {"IPAddress": "172.18.0.9"}, "n": {"IPAddress": "10.1.0.5"}}
    found = {
        "Config": {"Labels": {"conductor.address": "10.1.0.5:80"}},
        "HostConfig": {"NetworkMode": "n"},
        "NetworkSettings": {"Networks": networks, "Ports": {}},
        "State": {"Status": "running", "Running": True, "ExitCode": 0, "OOMKilled": False, "Pid": 1},
    }
    daemon.answers[f"GET /containers/{ID}/json"] = lambda h: h.send(found)
    state = runtime.inspect(ID)
    assert state is not None
    assert state.address == "10.1.0.5:80"


def test_a_container_does_not_get_the_callers_proxies(
    daemon: Daemon, runtime: DockerRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxies = {"default": {"httpProxy": "http://me:secret@proxy:3128"}}
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    bodies: list[Any] = []

    def create(handler: Handler) -> None:
        bodies.append(json.loads(handler.body()))
        handler.send({"Id": ID}, 201)

    daemon.answers["POST /containers/create"] = create
    assert runtime.create(spec()) == ID
    assert bodies[0]["Env"] == ["A=b"]


@pytest.mark.parametrize(
    "text", ["{", '{"auths": {"a.example": "no entry"}}', '{"auths": {"a.example": {"auth": "?"}}}']
)
def test_only_a_pull_reads_the_callers_docker_configuration(
    daemon: Daemon, runtime: DockerRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "config.json").write_text(text)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    daemon.answers["GET /containers/json"] = lambda h: h.send([])
    assert runtime.containers() == ((), ())
    with pytest.raises(ConductorError) as raised:
        runtime.pull("a.example/app:r1", lambda _: None)
    assert str(tmp_path / "config.json") in raised.value.sentence


def test_a_pull_sends_the_credentials_of_its_registry(
    daemon: Daemon, runtime: DockerRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = base64.b64encode(b"me:pass:word").decode()
    auths = {"registry.example": {"auth": auth}, "damaged.example": "no entry"}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    sent: list[Any] = []

    def refuse(handler: Handler) -> None:
        sent.append(json.loads(base64.urlsafe_b64decode(handler.headers["X-Registry-Auth"])))
        handler.send({"message": "enough"}, 500)

    daemon.answers["POST /images/create"] = refuse
    with pytest.raises(ConductorError):
        runtime.pull(IMAGE, lambda _: None)
    assert sent == [{"username": "me", "password": "pass:word"}]


def test_a_start_requests_the_name_only_when_it_fails(daemon: Daemon, runtime: DockerRuntime) -> None:
    daemon.answers[f"POST /containers/{ID}/start"] = lambda h: h.send(None, 204)
    runtime.start(ID)
    assert daemon.requests == [PING, f"POST /containers/{ID}/start"]
    daemon.answers[f"POST /containers/{ID}/start"] = fails()
    runtime.start(ID)  # a 500, and yet it runs
    stopped = {**INSPECTED, "State": {**STATE, "Running": False}}
    daemon.answers[f"GET /containers/{ID}/json"] = lambda h: h.send(stopped)
    with pytest.raises(ConductorError) as caught:
        runtime.start(ID)
    assert caught.value.sentence == "cannot start container web-r1-1: the disk is full"


def test_a_remove_that_fails_is_no_error_once_the_container_is_gone(daemon: Daemon, runtime: DockerRuntime) -> None:
    daemon.answers[f"DELETE /containers/{ID}"] = fails()
    with pytest.raises(ConductorError) as caught:
        runtime.remove(ID)
    assert caught.value.sentence == "cannot remove container web-r1-1: the disk is full"
    daemon.answers[f"GET /containers/{ID}/json"] = fails(404)
    runtime.remove(ID)


def test_a_removal_in_progress_is_waited_for(daemon: Daemon, runtime: DockerRuntime) -> None:
    inspections = itertools.count(1)

    def inspect(handler: Handler) -> None:
        handler.send(INSPECTED) if next(inspections) < 3 else handler.send({"message": "no such container"}, 404)

    daemon.answers[f"DELETE /containers/{ID}"] = fails(409)
    daemon.answers[f"GET /containers/{ID}/json"] = inspect
    runtime.remove(ID)
    assert next(inspections) == 4


def test_a_removal_in_progress_that_does_not_end(daemon: Daemon, tmp_path: Path) -> None:
    clock = FakeClock()
    daemon.answers[f"DELETE /containers/{ID}"] = fails(409)
    with pytest.raises(ConductorError) as caught:
        DockerRuntime(f"unix://{tmp_path}/docker.sock", "test", clock, FakeCancellation(clock)).remove(ID)
    assert caught.value.sentence == "cannot remove container web-r1-1: the disk is full"
    assert DEADLINE_SECONDS <= clock.monotonic() < DEADLINE_SECONDS + 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the SDK leaks a socket
@pytest.mark.parametrize(
    "url",
    ["unix://{dir}/none.sock", "unix://{dir}/file", "tcp://127.0.0.1:{port}"],
    ids=["no socket", "a socket without a listener", "a port without a listener"],
)
def test_a_daemon_that_does_not_run(tmp_path: Path, url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "file"))
    url = url.format(dir=tmp_path, port=port)

    def sentence(call: Callable[[], object]) -> str:
        with pytest.raises(RuntimeUnavailable) as caught:
            call()
        assert caught.value.hint.endswith("(or correct host.docker)")
        return caught.value.sentence

    for call in (DockerRuntime(url, "test", Clock(), SignalCancellation()).containers, TaskRuntime(url, "test").ping):
        assert sentence(call) == f"cannot reach Docker at {url}: Docker is not running"
    gc.collect()  # the leaked socket is reported in this test


def test_a_connection_that_closes_means_unavailable(daemon: Daemon, runtime: DockerRuntime) -> None:
    daemon.answers["GET /containers/json"] = lambda handler: None
    with pytest.raises(RuntimeUnavailable, match="cannot list containers: the connection to Docker was lost"):
        runtime.containers()


@pytest.mark.parametrize("status", [500, 403])
def test_an_error_of_the_daemon_is_not_unavailable(daemon: Daemon, runtime: DockerRuntime, status: int) -> None:
    daemon.answers["GET /containers/json"] = fails(status)
    with pytest.raises(ConductorError) as caught:
        runtime.containers()
    assert not isinstance(caught.value, RuntimeUnavailable)
    assert caught.value.sentence == "cannot list containers: the disk is full"


@pytest.fixture
def verbose() -> Iterator[None]:
    verbosity.choose(verbosity.Verbosity.VERBOSE)
    yield
    verbosity.choose(verbosity.Verbosity.NORMAL)


@pytest.mark.usefixtures("verbose")
def test_with_verbose_each_call_is_printed_without_headers_and_body(
    daemon: Daemon, runtime: DockerRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answers["POST /containers/create"] = lambda h: h.send({"Id": ID})
    daemon.answers["GET /images/sha256:1/json"] = fails(404)
    made = msgspec.structs.replace(spec(), environment={"PASSWORD": "hunter2"})
    assert runtime.create(made) == ID
    with pytest.raises(ConductorError):
        runtime.image("sha256:1")
    lines = [re.sub(r"[\d.]+s$", "0s", line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "  docker  GET /v1.45/_ping: 400 in 0s",
        "  docker  POST /v1.41/containers/create?name=web-r1-1: 200 in 0s",
        "  docker  GET /v1.41/images/sha256:1/json: 404 in 0s",
    ]


@pytest.mark.usefixtures("verbose")
def test_with_verbose_a_call_without_an_answer_is_printed(
    daemon: Daemon, runtime: DockerRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answers[f"GET /containers/{ID}/json"] = lambda h: h.close()
    with pytest.raises(RuntimeUnavailable):
        runtime.inspect(ID)
    assert f"  docker  GET /v1.41/containers/{ID}/json: no response in " in capsys.readouterr().err


def test_without_verbose_no_call_is_printed(runtime: DockerRuntime, capsys: pytest.CaptureFixture[str]) -> None:
    assert runtime.inspect(ID) is not None
    assert capsys.readouterr() == ("", "")
