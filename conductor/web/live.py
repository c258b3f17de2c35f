"""Server-sent events: each open page gets the parts of it that have changed. All pages of one kind share one rendering."""

import asyncio
from collections.abc import AsyncGenerator, Callable

import msgspec

from conductor.web.page import Pages, part_names
from conductor.web.source import View

LOOK_SECONDS = 0.5  # between two looks at the file
SILENT_SECONDS = 15.0  # after this time, a comment keeps proxies from closing a connection
MOST_PAGES = 200
MOST_WAITING = 8  # events for one page; a reader that is slower has to connect again
RELOAD = b"event: reload\ndata: {}\n\n"
HELLO = b"retry: 2000\n: hello\n\n"
COMMENT = b": still here\n\n"


class Live:
    """The open pages. `look` returns the pages of the current view, the same object until the view has changed."""

    def __init__(self, look: Callable[[], Pages]) -> None:
        self._look = look
        self._open: dict[asyncio.Queue[bytes | None], str | None] = {}
        self._sent: dict[str | None, dict[str, str]] = {}  # the parts that pages of each kind have
        self._pages: Pages | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """True when no more pages can be live."""
        return len(self._open) >= MOST_PAGES

    async def events(self, service: str | None, stamp: str, names: str = "") -> AsyncGenerator[bytes]:
        """Yield the events for a page of one service, or of the host, which was rendered at `stamp` with the parts `names`."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_WAITING)
        yield HELLO
        self._look_now()
        self._open[queue] = service
        if self._task is None:
            self._task = asyncio.create_task(self._follow())
        try:
            if self._pages is not None:
                now = self._sent[service] = self._pages.parts(service)
                if names and names != part_names(now):  # a service is new or gone since the page was rendered
                    yield RELOAD
                elif self._pages.view.stamp != stamp:
                    yield _changed(self._pages.view, now)
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), SILENT_SECONDS)
                except TimeoutError:
                    event = COMMENT
                if event is None:
                    return
                yield event
        finally:
            self._open.pop(queue, None)

    async def _follow(self) -> None:
        try:
            while self._open:
                await asyncio.sleep(LOOK_SECONDS)
                self._look_now()
        finally:  # also after an error: pages that are open connect again
            self.end()
            self._task = None
            self._sent.clear()

    def _look_now(self) -> None:
        """Send what has changed. All pages of one kind have the same parts, so that a new one first brings the others up to date."""
        pages = self._look()
        if pages is self._pages:
            return
        before, self._pages = self._pages, pages
        for service in set(self._open.values()):
            event = self._event(service, before, pages)
            for queue in [queue for queue, kind in self._open.items() if kind == service]:
                self._put(queue, event)

    def _event(self, service: str | None, before: Pages | None, pages: Pages) -> bytes | None:
        had, now = self._sent.get(service, {}), pages.parts(service)
        self._sent[service] = now
        if had.keys() != now.keys():
            return RELOAD
        changed = {name: text for name, text in now.items() if text != had[name]}
        return _changed(pages.view, changed)

    def _put(self, queue: asyncio.Queue[bytes | None], event: bytes | None) -> None:
        if event is None:
            return
        if queue.full():
            self._open.pop(queue)
            while not queue.empty():
                queue.get_nowait()
            event = None  # ends the answer
        queue.put_nowait(event)

    def end(self) -> None:
        """End all answers."""
        for queue in list(self._open):
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None)


def _changed(view: View, parts: dict[str, str]) -> bytes:
    data = msgspec.json.encode(
        {"stamp": view.stamp, "since": view.since, "parts": {name: str(text) for name, text in parts.items()}}
    )
    return b"data: " + data + b"\n\n"
