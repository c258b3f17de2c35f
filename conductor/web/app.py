"""The answers of the page, as an ASGI application: GET only, no cookies, nothing from other hosts."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from importlib.resources import files
from typing import Any

import msgspec

from conductor.clock import Clock
from conductor.web import page
from conductor.web.live import Live
from conductor.web.metrics import exposition
from conductor.web.source import Source, View

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# nginx in front sends "localhost" for an upstream that is a unix socket. It checks the name in the browser itself.
HOSTS = {"localhost", "127.0.0.1", "[::1]"}
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
CHUNK_BYTES = 64 * 1024  # the server keeps a copy of what a slow reader has not taken yet
HTML = "text/html; charset=utf-8"
FILES = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `body` is all of it, or `stream` yields it."""

    status: int = 200
    kind: str = "text/plain; charset=utf-8"
    body: bytes = b""
    stream: AsyncGenerator[bytes] | None = None


class App:
    """The ASGI application."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._pages: page.Pages | None = None
        self._bodies: dict[str, bytes] = {}  # of the view that `_bodies_of` names
        self._bodies_of = ""
        self.live = Live(self._look)

    def _look(self) -> page.Pages:
        """Return the pages of the current view, which are made anew only when the view has changed."""
        view = self._source.view()
        if self._pages is None or self._pages.view.stamp != view.stamp:
            self._pages = page.Pages(view, self._source.log, self._pages)
        return self._pages

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = self._answer(scope)
        headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        headers.append((b"content-type", answer.kind.encode()))
        if answer.status == 405:
            headers.append((b"allow", b"GET"))
        if answer.stream is None:
            headers.append((b"content-length", str(len(answer.body)).encode()))
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            for at in range(0, len(answer.body), CHUNK_BYTES):
                chunk = answer.body[at : at + CHUNK_BYTES]
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body"})
            return
        headers.append((b"x-accel-buffering", b"no"))  # nginx passes each event on at once
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await _pump(answer.stream, receive, send)

    def _answer(self, scope: Message) -> Answer:
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or _name(hosts[0]) not in HOSTS:
            return Answer(status=421, body=b"this server accepts requests only for localhost\n")
        if scope["method"] != "GET":
            return Answer(status=405, body=b"only GET\n")
        path = scope["path"]
        if path == "/metrics":
            from prometheus_client import CONTENT_TYPE_LATEST

            body = self._body(path, lambda view: exposition(view, self._clock.seconds))
            return Answer(kind=CONTENT_TYPE_LATEST, body=body)
        if path == "/status.json":
            status = 200 if self._source.view().document is not None else 503
            return Answer(status=status, kind="application/json", body=self._body(path, _status))
        if path == "/events":
            return self._events(_query(scope["query_string"].decode("latin-1")))
        if (name := path.removeprefix("/")) in FILES:
            return Answer(kind=FILES[name], body=file_bytes(name))
        pages = self._look()
        service = path.removeprefix("/services/") if path.startswith("/services/") else None
        if path != "/" and (service is None or not page.is_found(pages.view, service)):
            return Answer(status=404, body=b"not found\n")
        body = self._body(path, lambda _: pages.html(service).encode())
        return Answer(status=page.status_code(pages.view), kind=HTML, body=body)

    def _body(self, path: str, make: Callable[[View], bytes]) -> bytes:
        """Return a body, which is made once for a view: slow readers of the same view share it."""
        view = self._source.view()
        if self._bodies_of != view.stamp:
            self._bodies_of, self._bodies = view.stamp, {}
        if path not in self._bodies:
            self._bodies[path] = make(view)
        return self._bodies[path]

    def _events(self, query: dict[str, str]) -> Answer:
        service = query.get("service") or None
        if service is not None and not page.is_found(self._look().view, service):
            return Answer(status=404, body=b"not found\n")
        if self.live.is_full:
            return Answer(status=503, body=b"too many open pages\n")
        return Answer(
            kind="text/event-stream", stream=self.live.events(service, query.get("stamp", ""), query.get("names", ""))
        )


async def _pump(stream: AsyncGenerator[bytes], receive: Receive, send: Send) -> None:
    """Send a stream until it ends or the reader has gone."""

    async def parts() -> None:
        async with contextlib.aclosing(stream):
            async for part in stream:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = {asyncio.ensure_future(parts()), asyncio.ensure_future(gone())}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _query(text: str) -> dict[str, str]:
    """Return the parameters of a query. Ids and stamps need no escapes."""
    return dict(part.split("=", 1) for part in text.split("&") if "=" in part)


def _name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _status(view: View) -> bytes:
    return msgspec.json.encode(view.status or {"version": 1, "error": view.problem, "hint": view.fix})


@functools.cache
def file_bytes(name: str) -> bytes:
    """Return a file of the page that is no template."""
    return files("conductor").joinpath("templates", "web", name).read_bytes()
