"""Events: only what has changed, once rendered for all pages; slow readers and gone ones cost nothing."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from conductor.snapshot.published import STALE_SECONDS
from conductor.web import live
from conductor.web.live import HELLO, MOST_WAITING, RELOAD
from tests.fakes.world import WEB, WORKER
from tests.unit.web.conftest import Site, request, scope


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.01)


class Reader:
    """One open page. `read` returns the next event."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.may_send = asyncio.Event()
        self.may_send.set()

    async def send(self, message: Any) -> None:
        await self.may_send.wait()
        self.sent.put_nowait(message)

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def read(self) -> bytes:
        message = await asyncio.wait_for(self.sent.get(), 5)
        return message.get("body", b"") if message["type"] == "http.response.body" else await self.read()

    async def parts(self) -> dict[str, str]:
        event = await self.read()
        assert event.startswith(b"data: ")
        found: dict[str, str] = json.loads(event.removeprefix(b"data: "))["parts"]
        return found


@asynccontextmanager
async def opened(site: Site, path: str = "/events") -> AsyncIterator[Reader]:
    reader = Reader()
    task = asyncio.create_task(site.app(scope(path), reader.receive, reader.send))
    try:
        assert await reader.read() == HELLO
        yield reader
    finally:
        reader.gone.set()
        reader.may_send.set()
        await asyncio.wait_for(task, 5)


def problem(text: str) -> Callable[[Any], Any]:
    return lambda document: msgspec.structs.replace(document, problem=text)


def test_a_page_gets_the_parts_that_changed(site: Site) -> None:
    async def check() -> None:
        async with opened(site, f"/events?stamp={site.source.view().stamp}") as reader:
            site.publish(problem("line 3"))
            assert sorted(await reader.parts()) == ["headline", "host"]
            site.publish(problem("line 3"))
            assert await reader.parts() == {}, "only the time of the document is new"

    asyncio.run(check())


def test_a_page_that_was_rendered_earlier_gets_everything_first(site: Site) -> None:
    async def check() -> None:
        async with opened(site, "/events?stamp=older") as reader:
            assert {"headline", "service-web", "replicas-web", "host"} <= set(await reader.parts())

    asyncio.run(check())


def test_a_page_of_one_service(site: Site) -> None:
    async def check() -> None:
        stamp = site.source.view().stamp
        async with opened(site, f"/events?service=worker&stamp={stamp}") as reader:
            site.host.upgrade("r2", "worker")
            site.publish()
            assert {"service-worker", "replicas-worker", "history"} <= set(await reader.parts())
        assert (await request(site.app, "/events?service=nope")).status == 404

    asyncio.run(check())


def test_a_service_that_is_gone_or_new_loads_the_page_again(site: Site) -> None:
    async def check() -> None:
        async with opened(site, f"/events?stamp={site.source.view().stamp}") as reader:
            services = site.source.view().document
            assert services is not None
            site.publish(lambda document: msgspec.structs.replace(
                document, status=msgspec.structs.replace(document.status, services=document.status.services[1:])))  # fmt: skip
            assert await reader.read() == RELOAD

    asyncio.run(check())


def test_a_page_that_connects_after_a_service_has_come_is_loaded_again(site: Site) -> None:
    """For example, after the computer with the browser was asleep."""
    before = names_of(site)
    site.host.define({"web": WEB, "worker": WORKER, "new": WORKER, "newer": WORKER})
    site.publish()
    now = names_of(site)

    async def check() -> None:
        async with opened(site, f"/events?stamp=older&names={before}") as reader:
            assert await reader.read() == RELOAD
        async with opened(site, f"/events?stamp=older&names={now}") as reader:
            assert "service-newer" in await reader.parts()

    asyncio.run(check())


def names_of(site: Site) -> str:
    found = re.search(r'data-names="(\w+)"', site.get("/").body)
    assert found
    return found[1]


def test_an_error_while_a_page_is_open_ends_only_its_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        stamp = site.source.view().stamp
        with monkeypatch.context() as patch:
            async with opened(site, f"/events?stamp={stamp}") as reader:
                patch.setattr(site.app.live, "_look", lambda: 1 // 0)
                assert await reader.read() == b""
        async with opened(site, f"/events?stamp={stamp}") as reader:
            site.publish(problem("line 3"))
            assert "headline" in await reader.parts()

    asyncio.run(check())


def test_supervise_ends_and_comes_back_while_a_page_is_open(site: Site) -> None:
    async def check() -> None:
        async with opened(site, f"/events?stamp={site.source.view().stamp}") as reader:
            site.clock.ahead = STALE_SECONDS + 1
            assert "supervise has not been running since" in (await reader.parts())["headline"]
            site.clock.ahead = 0.0
            site.publish()
            assert "are healthy" in (await reader.parts())["headline"]
            site.write(b"half")
            assert await reader.read() == RELOAD

    asyncio.run(check())


def test_all_pages_share_one_rendering(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        stamp = site.source.view().stamp
        async with opened(site, f"/events?stamp={stamp}") as one, opened(site, f"/events?stamp={stamp}") as other:
            site.publish(problem("line 3"))
            assert await one.read() is await other.read()

    asyncio.run(check())


def test_a_reader_that_is_too_slow_has_to_connect_again(site: Site) -> None:
    async def check() -> None:
        stamp = site.source.view().stamp
        async with opened(site, f"/events?stamp={stamp}") as slow, opened(site, f"/events?stamp={stamp}") as quick:
            slow.may_send.clear()
            for number in range(MOST_WAITING + 3):
                site.publish(problem(f"line {number}"))
                await quick.parts()
            slow.may_send.set()
            received = 0
            while await slow.read():
                received += 1
            assert received < MOST_WAITING

    asyncio.run(check())


def test_a_page_that_is_closed_is_forgotten(site: Site) -> None:
    async def check() -> None:
        async with opened(site):
            assert len(site.app.live._open) == 1
        assert site.app.live._open == {}

    asyncio.run(check())


def test_silence_is_filled_with_comments(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SILENT_SECONDS", 0.01)

    async def check() -> None:
        async with opened(site, f"/events?stamp={site.source.view().stamp}") as reader:
            assert await reader.read() == live.COMMENT

    asyncio.run(check())


def test_a_limit_of_open_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_PAGES", 1)

    async def check() -> None:
        async with opened(site):
            assert (await request(site.app, "/events")).status == 503

    asyncio.run(check())


def test_the_end_of_the_process_ends_all_answers(site: Site) -> None:
    async def check() -> None:
        async with opened(site, f"/events?stamp={site.source.view().stamp}") as reader:
            site.app.live.end()
            assert await reader.read() == b""

    asyncio.run(check())
