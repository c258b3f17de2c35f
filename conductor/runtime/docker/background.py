"""Streams of the daemon that are read in a thread, so that the caller is not blocked while nothing arrives."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_background(stream: Callable[[], Iterable[T]], tick: float) -> Iterator[T | None]:
    """Yield what `stream` yields or raises, read by its own thread; yield None after each `tick` seconds of silence.

    A caller that stops early leaves the thread behind. It ends with the stream, and keeps no process alive.
    """
    read: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def follow() -> None:
        try:
            for message in stream():
                read.put((message, None))
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            read.put((None, error))
        else:
            read.put((None, None))

    threading.Thread(target=follow, daemon=True).start()
    while True:
        try:
            message, error = read.get(timeout=tick)
        except queue.Empty:
            yield None
            continue
        if error is not None:
            raise error
        if message is None:
            return
        yield message
