"""Threads of several processes that run one at a time, in an order that a seed decides, on a clock that only they advance."""

import datetime
import random
import threading
from collections.abc import Callable
from typing import cast

from conductor.clock import Clock

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Killed(BaseException):
    """SIGKILL: the thread ends where it is."""


class Turns:
    """`add` threads, then `run` them to their end. Between two turns of a thread, all others may have had theirs.

    A process can be killed, or frozen as by SIGSTOP; both concern all of its threads.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.killed: set[str] = set()
        self.frozen: dict[str, float] = {}  # until when, by process
        self.errors: list[BaseException] = []
        self._threads: dict[
            threading.Thread, tuple[str, bool]
        ] = {}  # process, and whether it keeps running in the background
        self._wakes: dict[threading.Thread, float] = {}
        self._current: threading.Thread | None = None
        self._changed = threading.Condition()
        self._running = False

    def add(self, process: str, what: Callable[[], None], *, background: bool = False, after: float = 0.0) -> None:
        """Add a thread, which begins after `after` seconds. One in the background ends when no other thread is left."""

        def run() -> None:
            try:
                self._wait()
                what()
            except Killed:
                pass
            except BaseException as error:  # noqa: BLE001 (raised again by `run`)
                self.errors.append(error)
            finally:
                with self._changed:
                    del self._threads[thread], self._wakes[thread]
                    self._choose()

        thread = threading.Thread(target=run, daemon=True)
        with self._changed:
            self._threads[thread], self._wakes[thread] = (process, background), self.now + after
            if self._running:
                thread.start()

    def run(self) -> None:
        """Run all threads to their end, also those that are added meanwhile, and raise the first error."""
        self._running = True
        for thread in list(self._threads):
            thread.start()
        with self._changed:
            self._choose()
        while (thread := self._first()) is not None:
            thread.join(60)
            assert not thread.is_alive(), "a thread does not end"
        self._running = False
        for error in self.errors:
            raise error

    def _first(self) -> threading.Thread | None:
        with self._changed:
            return next(iter(self._threads), None)

    def turn(self, seconds: float | None = None, thread: threading.Thread | None = None) -> None:
        """Give others a turn; continue after `seconds`, by default after the time that one call takes.

        A thread that was not added takes the turn of `thread`, which waits for it.
        """
        thread = thread or threading.current_thread()
        if seconds is None:
            seconds = self.random.uniform(0.001, 0.01)
        with self._changed:
            if thread not in self._threads:
                raise Killed
            self._wakes[thread] = self.now + seconds
            self._choose()
        self._wait(thread)

    def process(self) -> str:
        """Return the process of the running thread."""
        return self._threads[threading.current_thread()][0]

    def has(self, thread: threading.Thread) -> bool:
        """True for a thread that was added and has not ended."""
        return thread in self._threads

    def _wait(self, thread: threading.Thread | None = None) -> None:
        thread = thread or threading.current_thread()
        with self._changed:
            while self._current is not thread:
                if thread not in self._threads:
                    raise Killed
                self._changed.wait()
            process, background = self._threads[thread]
            if process in self.killed or (background and all(one[1] for one in self._threads.values())):
                raise Killed

    def _choose(self) -> None:
        """Choose the next thread: any whose time has come; without one, that of the earliest."""
        due = {
            thread: 0.0 if process in self.killed else max(self._wakes[thread], self.frozen.get(process, 0.0))
            for thread, (process, _) in self._threads.items()
        }
        if due:
            self.now = max(self.now, min(due.values()))
            self._current = self.random.choice([thread for thread, at in due.items() if at <= self.now])
        self._changed.notify_all()


class TurnsClock(Clock):
    """The clock of the threads."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def monotonic(self) -> float:
        return self._turns.now

    def wall(self) -> float:
        return EPOCH.timestamp() + self._turns.now

    def sleep(self, seconds: float) -> None:
        self._turns.turn(seconds)


def clock(turns: Turns) -> Clock:
    """Return the clock of these threads."""
    return cast("Clock", TurnsClock(turns))
