"""A page over a document that a real `supervise` in memory published."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from conductor.snapshot.published import Published, published_path
from conductor.state.history import History
from conductor.web.app import App
from conductor.web.source import Source
from tests.fakes.runtime import FakeClock
from tests.fakes.world import WEB, WORKER
from tests.unit.supervise.conftest import SupervisedHost

SERVICES = {"web": WEB, "worker": WORKER, "new": WORKER}


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Site:
    """`conductor web` of one host, called without a server."""

    def __init__(self, directory: Path) -> None:
        self.host = SupervisedHost(directory, SERVICES)
        self.host.recorder.append = History(self.host.store.directory).append  # type: ignore[method-assign]
        self.host.upgrade("r1", "web", "worker")
        self.clock = WallClock(self.host.clock)
        self.path = published_path(self.host.definitions.host.runtime_dir)
        self.source = Source(self.path, self.clock)
        self.app = App(self.source, self.clock)

    def publish(self, change: Callable[[Published], Published] = lambda document: document) -> None:
        """Run a pass, and then apply a change to the document that it published."""
        self.host.run_pass(publish=True)
        document = change(msgspec.json.decode(self.path.read_bytes(), type=Published))
        self.write(msgspec.json.encode(document))

    def write(self, data: bytes) -> None:
        """Replace the document as `supervise` does."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name("beside")
        beside.write_bytes(data)
        beside.replace(self.path)

    def get(self, path: str, *, host: str | None = "localhost", method: str = "GET") -> Reply:
        return asyncio.run(request(self.app, path, host=host, method=method))


class WallClock(FakeClock):
    """The wall time is that of files; stamps are those of the host in memory."""

    def __init__(self, host: FakeClock) -> None:
        super().__init__()
        self.ahead = 0.0

    def wall(self) -> float:
        import time

        return time.time() + self.ahead


async def request(app: App, path: str, *, host: str | None = "localhost", method: str = "GET") -> Reply:
    """Return the answer to one request."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    await app(scope(path, host, method), receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Reply(sent[0]["status"], headers, b"".join(one.get("body", b"") for one in sent[1:]).decode())


def scope(path: str, host: str | None = "localhost", method: str = "GET") -> dict[str, Any]:
    path, _, query = path.partition("?")
    headers = [] if host is None else [(b"host", host.encode("latin-1"))]
    return {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": headers}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.publish()
    return made
