"""Responses that no Docker sends: each call fails with a sentence, also for those that are almost right. None is a bug."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from conductor.clock import Clock
from conductor.definitions.model import Network
from conductor.errors import ConductorError
from conductor.plan.container_spec import ContainerSpec
from conductor.runtime.docker.attach import TaskRuntime
from conductor.runtime.docker.client import DockerRuntime
from tests.fakes.runtime import FakeCancellation
from tests.fakes.world import WORKER, World

DEEP = 5000  # more than Python's recursion limit
BODIES = {
    "an empty object": b"{}",
    "an empty list": b"[]",
    "null": b"null",
    "a number": b"42",
    "a text": b'"x"',
    "a page": b"<html>",
    "nothing": b"",
    "texts": b'["a", "b"]',
    "nulls": b"[null]",
    "empty objects": b"[{}]",
    "nesting": b"[" * DEEP + b"]" * DEEP,
    "no UTF-8": b'{"Id": "\xff"}',
    "surrogates": b'{"Id": "\\ud800", "Names": ["/\\ud800"]}',
    "nulls in an object": b'{"Id": null, "State": null, "Config": null, "NetworkSettings": null, "Containers": null, "Volumes": null}',
    "other types": b'{"Id": 5, "State": "x", "Config": [], "NetworkSettings": [], "Containers": [], "Volumes": "x", "Name": 7, "message": {}}',
    "other types in a list": b'[{"Id": 5, "Names": [], "Labels": [], "State": {}, "Created": "x", "ImageID": null, "Name": {}, "RepoTags": 5, "Size": "x"}]',
}  # fmt: skip
NETWORK = Network()
CALLS: dict[str, Callable[[DockerRuntime, ContainerSpec], Any]] = {
    "daemon": lambda r, _: r.daemon(),
    "containers": lambda r, _: r.containers("web"),
    "events": lambda r, _: list(r.events()),
    "image": lambda r, _: r.image("a:b"),
    "pull": lambda r, _: r.pull("a:b", lambda _text: None),
    "local_images": lambda r, _: r.local_images(),
    "remove_image": lambda r, _: r.remove_image("a:b", "x"),
    "ensure_network": lambda r, _: r.ensure_network(NETWORK),
    "check_networks": lambda r, _: r.check_networks(["a"]),
    "used_addresses": lambda r, _: r.used_addresses(NETWORK),
    "create": lambda r, spec: r.create(spec),
    "start": lambda r, _: r.start("c1"),
    "inspect": lambda r, _: r.inspect("c1"),
    "inspect_exit": lambda r, _: r.inspect_exit("c1", wait=False),
    "listeners": lambda r, _: r.listeners("c1"),
    "environment": lambda r, _: r.environment("c1"),
    "execute": lambda r, _: r.execute("c1", ("x",), 1.0),
    "capture": lambda r, _: r.capture("c1", 1.0, 100),
    "logs": lambda r, _: r.logs("c1", 10),
    "read_log": lambda r, _: list(r.read_log("c1")),
    "signal": lambda r, _: r.signal("c1", "TERM"),
    "stop": lambda r, _: r.stop("c1", 1),
    "remove": lambda r, _: r.remove("c1"),
    "remove_volumes": lambda r, _: r.remove_volumes("web", ["a"]),
}
TASK_CALLS: dict[str, Callable[[TaskRuntime, ContainerSpec], Any]] = {
    "has_image": lambda r, _: r.has_image("x"),
    "tags": lambda r, _: r.tags("x", 5),
    "has_network": lambda r, _: r.has_network("x"),
    "create": lambda r, spec: r.create(spec),
    "wait": lambda r, _: r.wait("c").code(),
    "start": lambda r, _: r.start("c", "x"),
    "log_file": lambda r, _: r.log_file("c"),
    "runs": lambda r, _: r.runs("c"),
    "start_delay": lambda r, _: r.start_delay("c"),
    "unfinished": lambda r, _: r.unfinished("a", "b"),
    "containers": lambda r, _: r.containers("a"),
    "image": lambda r, _: r.image("x"),
}


class Handler(BaseHTTPRequestHandler):
    """Answers everything but the negotiation of the version with the body of the test."""

    server: "Daemon"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        negotiates = "/_ping" in self.path or self.path.endswith("/version")
        body = b'{"ApiVersion": "1.41", "Version": "20"}' if negotiates else self.server.body
        self.send_response(200 if negotiates else self.server.status)
        self.send_header("Api-Version", "1.41")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def address_string(self) -> str:
        return ""

    def log_message(self, *_: object) -> None:
        pass


class Daemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    body, status = b"", 200

    def handle_error(self, *_: object) -> None:
        pass


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(str(tmp_path / "docker.sock"), Handler) as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ContainerSpec:
    world = World(tmp_path_factory.mktemp("world"), {"web": WORKER})
    world.upgrade("r1")
    found: ContainerSpec = world.runtime.called("create")[0][0]
    return found


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("status", [200, 500])
def test_every_call(daemon: Daemon, tmp_path: Path, spec: ContainerSpec, name: str, status: int) -> None:
    daemon.body, daemon.status, wrong = BODIES[name], status, []
    base = f"unix://{tmp_path}/docker.sock"
    runtime, tasks = DockerRuntime(base, "test", Clock(), FakeCancellation()), TaskRuntime(base, "test")
    calls = [(name, lambda call=call: call(runtime, spec)) for name, call in CALLS.items()]  # type: ignore[misc]
    calls += [(f"task {name}", lambda call=call: call(tasks, spec)) for name, call in TASK_CALLS.items()]  # type: ignore[misc]
    for called, call in calls:
        try:
            call()
        except ConductorError as error:
            wrong += [] if error.sentence.startswith("cannot ") else [f"{called}: {error.sentence}"]
        except Exception as error:  # noqa: BLE001 (all calls at once)
            wrong.append(f"{called}: {error!r}")
    assert wrong == []
