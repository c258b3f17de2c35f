"""One thread that owns the writing connection and commits all that waits as one transaction (group commit).

A commit is a sync of the disk. Twenty requests that arrive during one sync share the next, so throughput grows with
load, and of each container only one thread competes for SQLite's write lock. Those threads queue at a file lock:
waiting for SQLite itself means asking again after ever longer pauses, which starved one of two busy containers for
over a second (measured).
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
    """A job's own no, raised before it wrote anything: the other jobs of its transaction go on."""


class Writer:
    """Runs jobs in order; a job's result is given out only after the commit that holds it."""

    def __init__(self, connection: sqlite3.Connection, turn: Path) -> None:
        self._connection = connection
        self._turn = turn.open("a")
        self._changed = threading.Condition()
        self._waiting: list[tuple[Job[Any], Future[Any]]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def run(self, job: Job[Result]) -> Result:
        """Run the job and wait until it is on the disk; what it raises is raised here."""
        result: Future[Result] = Future()
        with self._changed:
            self._waiting.append((job, result))
            self._changed.notify()
        return result.result()

    def close(self) -> None:
        """Finish what is waiting, then end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._connection.close()
        self._turn.close()

    def _work(self) -> None:
        while group := self._next():
            self._commit(group)

    def _next(self) -> list[tuple[Job[Any], Future[Any]]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            group, self._waiting = self._waiting, []
            return group

    def _commit(self, group: list[tuple[Job[Any], Future[Any]]]) -> None:
        answers: list[tuple[Callable[[Any], None], Any]] = []
        try:
            with self._transaction():
                for job, result in group:
                    try:
                        answers.append((result.set_result, job(self._connection)))
                    except RefusedError as refused:
                        answers.append((result.set_exception, refused))
        except Exception as error:  # noqa: BLE001 - nothing was stored: everyone who waits is told so
            answers = [(result.set_exception, error) for _, result in group]
        for give, answer in answers:
            give(answer)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # commits at its end, or rolls back
                yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)
