"""Runs the page: uvicorn, one thread, until SIGTERM or SIGINT."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from conductor.clock import Clock
from conductor.collector import collect_often
from conductor.web.app import App
from conductor.web.listeners import Socket
from conductor.web.source import Source

MOST_CONNECTIONS = 400  # at once; further ones get 503
IDLE_SECONDS = 20  # a connection may wait for its next request, and may take no byte of an answer
HEADER_BYTES = 16384


def serve(path: Path, sockets: Sequence[Socket]) -> None:
    """Answer on these sockets from the document at `path`."""
    collect_often()
    server(path).run(list(sockets))


def server(path: Path, idle_seconds: int = IDLE_SECONDS) -> uvicorn.Server:
    """Return the server of the document at `path`."""
    clock = Clock()
    app = App(Source(path, clock), clock)
    config = uvicorn.Config(
        app, lifespan="off", loop="asyncio", http=_Connection, ws="none", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, limit_concurrency=MOST_CONNECTIONS, timeout_keep_alive=idle_seconds,
        timeout_graceful_shutdown=1, h11_max_incomplete_event_size=HEADER_BYTES,
    )  # fmt: skip
    return _Server(config, app)


class _Connection(H11Protocol):
    """Closes a connection whose client neither completes a request nor takes an answer, so that it occupies no place."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch it."""
        super().connection_made(transport)
        self.loop.call_later(self.timeout_keep_alive, self._watch, (None, 0))

    def _watch(self, before: tuple[Any, int]) -> None:
        """Compare the request and the bytes that wait to be taken with those of the time `before`."""
        if self.transport.is_closing() and not self.transport.get_write_buffer_size():
            return
        waiting = self.transport.get_write_buffer_size()
        state = self.cycle, waiting
        if state == before and (waiting or self.cycle is None or self.cycle.response_complete):
            self.transport.abort()
            return
        self.loop.call_later(self.timeout_keep_alive, self._watch, state)


class _Server(uvicorn.Server):
    """Ends the answers to live pages first, which would otherwise never end."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[Socket] | None = None) -> None:
        """End all answers, then the server."""
        self._app.live.end()
        await super().shutdown(sockets)
