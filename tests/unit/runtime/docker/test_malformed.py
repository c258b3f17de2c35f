"""Responses that no Docker sends: each field of each recorded response is removed, or gets another type, one at a time.

Every call ends with a sentence, or with a result where the field does not matter to it. None is a bug of Conductor.
"""

import gc
import io
import ipaddress
import json
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
import pytest

from conductor.clock import Clock
from conductor.definitions.host import Network
from conductor.definitions.model import JoinedNetwork
from conductor.errors import ConductorError
from conductor.plan.container_spec import ContainerSpec
from conductor.runtime.docker.attach import TaskRuntime
from conductor.runtime.docker.client import DockerRuntime
from conductor.runtime.docker.dialect import HEADER
from tests.fakes.runtime import FakeCancellation
from tests.fakes.world import WORKER, World
from tests.support.damaged import BODIES, damaged

NETWORK = Network()
TASKS = ipaddress.IPv4Network(NETWORK.tasks)
ID, IMAGE = "c" * 64, "sha256:" + "a" * 64
LABELS = {
    "conductor.address": "10.213.32.24:8080", "conductor.change": "99a3358f", "conductor.deadline": "1796079309.5",
    "conductor.instance": "test", "conductor.kind": "service", "conductor.name": "web-r7-1", "conductor.service": "web",
}  # fmt: skip
ENDPOINT = {"IPAddress": "10.213.32.24", "Gateway": "10.213.32.1"}
# Of Docker 20.10.24, shortened to what Conductor reads and a few other fields.
RESPONSES: dict[str, Any] = {
    "GET /info": {"SystemTime": "2026-11-30T22:55:12.556261211Z", "LiveRestoreEnabled": False, "DockerRootDir": "/d"},
    "GET /version": {"Version": "20.10.24+dfsg1", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Os": "linux"},
    "GET /containers/json": [
        {
            "Id": ID, "Names": ["/web-r7-1"], "ImageID": IMAGE, "Created": 1796079309, "Labels": LABELS,
            "State": "running", "Status": "Up 2 seconds",
        }
    ],
    f"GET /containers/{ID}/json": {
        "Id": ID, "Name": "/web-r7-1", "Created": "2026-11-30T22:55:09.845852261Z", "LogPath": "/nowhere/c.log",
        "State": {
            "Status": "exited", "Running": False, "OOMKilled": False, "Pid": 24499, "ExitCode": 137, "Error": "",
            "StartedAt": "2026-11-30T22:55:10.282662331Z", "FinishedAt": "2026-11-30T22:55:11.282662331Z",
        },
        "Config": {"Labels": LABELS, "Env": ["REVISION=r7", "PATH=/bin"]},
        "HostConfig": {"NetworkMode": "conductor"},
        "NetworkSettings": {
            "Networks": {"conductor": ENDPOINT, "monitoring": ENDPOINT},
            "Ports": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "20001"}], "81/tcp": None},
        },
    },
    "GET /images/a:b/json": {
        "Id": IMAGE, "RepoTags": ["a:b"], "RepoDigests": ["a@sha256:1"], "Size": 335771656, "Parent": "",
        "Config": {"Volumes": {"/data": {}}},
    },
    "DELETE /images/a:b": [{"Untagged": "a:b"}],
    "GET /images/json": [
        {
            "Id": IMAGE, "ParentId": "", "RepoTags": ["a:b"], "RepoDigests": ["a@sha256:1"], "Created": 1796076648,
            "Size": 335771656, "Labels": None,
        }
    ],
    "GET /networks": [
        {
            "Name": "conductor", "Labels": {"conductor.instance": "test"},
            "IPAM": {"Config": [{"Subnet": NETWORK.subnet, "IPRange": NETWORK.tasks, "Gateway": "10.213.0.1"}]},
        }
    ],
    "GET /networks/conductor": {"Id": "n1", "Name": "conductor", "Containers": {ID: {"IPv4Address": "10.213.32.24/24"}}},
    "GET /volumes": {
        "Volumes": [{"Name": "v", "CreatedAt": "2026-11-30T20:20:54Z", "Labels": {"conductor.revision": "r7"}}],
        "Warnings": None,
    },
    "POST /volumes/create": {"Name": "v"},
    "POST /containers/create": {"Id": ID, "Warnings": []},
    f"POST /containers/{ID}/exec": {"Id": "e1"},
    "GET /exec/e1/json": {"ID": "e1", "Running": False, "ExitCode": 0, "Pid": 0},
    f"POST /containers/{ID}/wait": {"StatusCode": 0, "Error": None},
    "GET /events": {
        "Type": "container", "Action": "die", "time": 1796079309,
        "Actor": {"ID": ID, "Attributes": {**LABELS, "exitCode": "1"}},
    },
    "POST /images/create": {
        "status": "Downloading", "progressDetail": {"current": 1, "total": 2}, "progress": "[=>]", "id": "4f4fb700ef54",
    },
    f"POST /libpod/containers/{ID}/wait": 0,
    "GET /libpod/networks/conductor/json": {
        "name": "conductor",
        "subnets": [{"subnet": NETWORK.subnet, "lease_range": {"start_ip": str(TASKS[1]), "end_ip": str(TASKS[-1])}}],
    },
}  # fmt: skip
every = pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)], ids=["one", "every"])
# The SDK closes the connection of a stream that it has not read to its end when it is collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
STREAMS = {"GET /events", "POST /images/create"}
SOCKETS = {"POST /exec/e1/start", f"POST /containers/{ID}/attach"}
ERROR = {"message": "no such thing"}
T = TypeVar("T")
Runtime = tuple[DockerRuntime, TaskRuntime, ContainerSpec]
# For each response, what Conductor does with it.
CALLS: dict[str, tuple[Callable[[Runtime], Any], ...]] = {
    "GET /info": (lambda r: Clock().age(r[0].daemon().time),),
    "GET /version": (lambda r: r[0].daemon(),),
    "GET /containers/json": (
        lambda r: r[0].containers("web"),
        lambda r: r[0].local_images(),
        lambda r: r[0].used_addresses(NETWORK),
        lambda r: r[1].unfinished("web", "j"),
    ),
    f"GET /containers/{ID}/json": (
        lambda r: r[0].inspect(ID),
        lambda r: r[0].listeners(ID),
        lambda r: r[0].environment(ID),
        lambda r: r[0].stop(ID, 1),
        lambda r: r[1].runs(ID),
        lambda r: r[1].start_delay(ID),
        lambda r: r[1].log_file(ID),
    ),
    "GET /images/a:b/json": (
        lambda r: r[0].image("a:b"),
        lambda r: r[0].remove_image("a:b", IMAGE),
        lambda r: r[1].image("a:b"),
    ),
    "GET /images/json": (lambda r: r[0].local_images(), lambda r: r[1].tags("a", 5)),
    "GET /networks": (lambda r: r[0].ensure_network(NETWORK), lambda r: r[0].check_networks(["conductor"])),
    "GET /networks/conductor": (
        lambda r: r[0].used_addresses(NETWORK),
        lambda r: r[1].has_network("conductor"),
    ),
    "GET /volumes": (lambda r: r[0].remove_volumes("web", ["r7"]),),
    "POST /containers/create": (lambda r: r[0].create(r[2]), lambda r: r[1].create(r[2])),
    f"POST /containers/{ID}/exec": (lambda r: r[0].execute(ID, ("x",), 5.0),),
    "GET /exec/e1/json": (lambda r: r[0].execute(ID, ("x",), 5.0),),
    f"POST /containers/{ID}/wait": (lambda r: r[0].capture(ID, 5.0, 100),),
    "GET /events": (lambda r: list(r[0].events()),),
    "POST /images/create": (lambda r: r[0].pull("a:b", lambda text: print(text, file=io.StringIO())),),
    f"POST /libpod/containers/{ID}/wait": (lambda r: r[0].capture(ID, 5.0, 100),),
    "GET /libpod/networks/conductor/json": (lambda r: r[0].ensure_network(NETWORK),),
}


class Handler(BaseHTTPRequestHandler):
    """One request per connection."""

    protocol_version = "HTTP/1.1"
    server: "Daemon"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.close_connection = True
        path = re.sub(r"^/v[0-9.]+", "", unquote(self.path.partition("?")[0]))
        request = f"{self.command} {path}"
        if request in SOCKETS:
            self.wfile.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            return
        found = self.server.damage.get(request, self.server.responses.get(request))
        status = 200 if found is not None or request in self.server.damage else 204
        self.send(self.server.statuses.get(request, status), found, chunked=request in STREAMS)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def send(self, status: int, found: Any, *, chunked: bool) -> None:
        body = b"" if status == 204 else found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        if chunked and status == 200:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        elif status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Daemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 50

    def __init__(self, path: str) -> None:
        super().__init__(path, Handler)
        self.responses = RESPONSES
        self.damage: dict[str, Any] = {}
        self.statuses: dict[str, int] = {}
        self.headers = {"Api-Version": "1.41"}

    def handle_error(self, *_: object) -> None:
        pass


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(str(tmp_path / "docker.sock")) as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def runtime(daemon: Daemon, tmp_path: Path, spec: ContainerSpec) -> Iterator[Runtime]:
    base = f"unix://{tmp_path}/docker.sock"
    yield DockerRuntime(base, "test", Clock(), FakeCancellation()), TaskRuntime(base, "test"), spec
    gc.collect()


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ContainerSpec:
    world = World(tmp_path_factory.mktemp("world"), {"web": WORKER})
    world.upgrade("r1")
    found: ContainerSpec = world.runtime.called("create")[0][0]
    return msgspec.structs.replace(found, image_id="a:b", joined=(JoinedNetwork(name="monitoring"),))


def unclean(call: Callable[[T], Any], runtime: T) -> str:
    """Return what is wrong with how a call ends."""
    try:
        call(runtime)
    except ConductorError as error:
        return "" if error.sentence.startswith("cannot ") else error.sentence
    except Exception as error:  # noqa: BLE001 (all calls at once)
        return repr(error)
    return ""


def all_unclean(daemon: Daemon, runtime: Runtime, request: str, damages: Iterator[tuple[str, Any]]) -> list[str]:
    found = []
    for what, response in damages:
        daemon.damage = {request: response}
        for number, call in enumerate(CALLS[request]):
            if wrong := unclean(call, runtime):
                found.append(f"{what}: call {number}: {wrong}")
    return found


@pytest.mark.parametrize("podman", [False, True], ids=["docker", "podman"])
def test_recorded_responses_are_accepted(daemon: Daemon, runtime: Runtime, podman: bool) -> None:
    daemon.headers |= {HEADER: "5.4.2"} if podman else {}
    for request, calls in CALLS.items():
        for call in calls:
            if podman or "libpod" not in request:
                call(runtime)


@pytest.mark.parametrize("request_", CALLS)
@every
def test_each_field(daemon: Daemon, runtime: Runtime, request_: str, every: bool) -> None:
    daemon.headers |= {HEADER: "5.4.2"} if "libpod" in request_ else {}
    assert all_unclean(daemon, runtime, request_, damaged(RESPONSES[request_], every=every)) == []


@pytest.mark.parametrize("request_", [f"GET /containers/{ID}/json", "GET /containers/json", "GET /images/json"])
@every
def test_each_field_of_podmans(daemon: Daemon, runtime: Runtime, request_: str, every: bool) -> None:
    daemon.headers |= {HEADER: "5.4.2"}
    assert all_unclean(daemon, runtime, request_, damaged(RESPONSES[request_], every=every)) == []


@pytest.mark.parametrize("request_", CALLS)
def test_other_bodies(daemon: Daemon, runtime: Runtime, request_: str) -> None:
    daemon.headers |= {HEADER: "5.4.2"} if "libpod" in request_ else {}
    assert all_unclean(daemon, runtime, request_, iter(BODIES.items())) == []


@pytest.mark.parametrize("status", [404, 500])
def test_other_errors(daemon: Daemon, runtime: Runtime, status: int) -> None:
    wrong = []
    for request, calls in CALLS.items():
        daemon.statuses = {request: status}
        for what, response in damaged(ERROR, every=False):
            daemon.damage = {request: response}
            wrong += [f"{request}: {what}: {found}" for call in calls if (found := unclean(call, runtime))]
    assert wrong == []


@pytest.mark.parametrize("version", ["", "x", "1", "1.", "-1.41", "1.41.x", "9" * 5000, "1.41\u00b2"])
def test_other_versions(daemon: Daemon, runtime: Runtime, version: str) -> None:
    daemon.headers["Api-Version"] = version.encode().decode("latin-1")
    assert [unclean(call, runtime) for call in CALLS["GET /containers/json"]] == [""] * 4


def test_the_error_names_the_field(daemon: Daemon, runtime: Runtime) -> None:
    found = {**RESPONSES[f"GET /containers/{ID}/json"], "State": {"Status": "running"}}
    daemon.damage = {f"GET /containers/{ID}/json": found}
    for call in (runtime[0].inspect, runtime[1].runs):
        with pytest.raises(ConductorError) as raised:
            call(ID)
        assert raised.value.sentence == (
            "cannot inspect container cccccccccccc: unexpected response from Docker "
            "(Object missing required field `Running` - at `$.State`)"
        )
        assert "conductor help compatibility" in raised.value.hint


@pytest.mark.parametrize(
    ("body", "shown"), [(b"page not found\n", "page not found"), (b'{"error": "x"}', '{"error": "x"}'), (b"", "")]
)
def test_an_error_without_a_message_is_shown_as_it_is(
    daemon: Daemon, runtime: Runtime, body: bytes, shown: str
) -> None:
    daemon.statuses, daemon.damage = {"GET /info": 500}, {"GET /info": body}
    with pytest.raises(ConductorError) as raised:
        runtime[0].daemon()
    assert raised.value.sentence == f"cannot read Docker's settings: status 500 {shown}".rstrip()
