"""One thread that owns the write connection and commits all waiting jobs in one transaction (group commit).

Each commit syncs the disk. Requests that arrive during one sync share the next commit, so throughput grows with load.
The writers of several containers wait for each other at a file lock, which is fair. SQLite's own busy handler retries
with increasing pauses, which can starve one of two busy containers.
"""

import fcntl
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")
Job = Callable[[sqlite3.Connection], Result]


class RefusedError(Exception):
    """Raised by a job before it writes anything; the other jobs of its transaction continue."""


class Writer:
    """Runs jobs in order. A job's result is available after its commit."""

    def __init__(self, connection: sqlite3.Connection, lock: Path) -> None:
        self._connection = connection
        self._lock = lock.open("a")
        self._changed = threading.Condition()
        self._waiting: list[tuple[Job[Any], Future[Any]]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def run(self, job: Job[Result]) -> Result:
        """Run the job, wait for its commit, and return its result or raise its error."""
        result: Future[Result] = Future()
        with self._changed:
            self._waiting.append((job, result))
            self._changed.notify()
        return result.result()

    def close(self) -> None:
        """Run the waiting jobs, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._connection.close()
        self._lock.close()

    def _work(self) -> None:
        while group := self._next():
            self._commit(group)

    def _next(self) -> list[tuple[Job[Any], Future[Any]]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            group, self._waiting = self._waiting, []
            return group

    def _commit(self, group: list[tuple[Job[Any], Future[Any]]]) -> None:
        outcomes: list[tuple[Callable[[Any], None], Any]] = []
        try:
            with self._transaction():
                for job, result in group:
                    try:
                        outcomes.append((result.set_result, job(self._connection)))
                    except RefusedError as refused:
                        outcomes.append((result.set_exception, refused))
        except Exception as error:  # noqa: BLE001 - nothing was stored, so all waiting jobs fail
            outcomes = [(result.set_exception, error) for _, result in group]
        for deliver, outcome in outcomes:
            deliver(outcome)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # commits at its end, or rolls back
                yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
