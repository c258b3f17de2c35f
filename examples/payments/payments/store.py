"""Payments in SQLite on a volume, which containers of several revisions read and write concurrently.

Exactly once: the idempotency key is unique, and lookup and insert are one write transaction.
Durable: with a write-ahead log and `synchronous=FULL`, an acknowledged payment survives a power failure.
"""

import sqlite3
import threading
import time
import uuid
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from payments import schema, settings
from payments.writer import RefusedError, Writer

BUSY_SECONDS = 20  # how long a write waits for other containers
BATCH = 500  # payments per transaction of the worker, so that requests do not wait long


class NotFoundError(RefusedError):
    """The payment does not exist."""


class ConflictError(RefusedError):
    """The request conflicts with a stored payment."""


@dataclass(frozen=True)
class Order:
    """A payment to create; the fingerprint distinguishes a repeated request from another one with the same key."""

    key: str
    fingerprint: str
    amount: int
    currency: str
    mandate: str
    reference: str


@dataclass(frozen=True)
class Payment:
    """A stored payment. `number` is its position in the order of storage; `amount` is in minor units such as pence."""

    number: int
    id: str
    idempotency_key: str
    amount: int
    currency: str
    mandate: str
    reference: str
    status: str
    created_at: str
    created_by: str


COLUMNS = ", ".join(field.name for field in fields(Payment))


class Store:
    """The payments in one data directory, which is created if it is missing."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "payments.db"
        self._reading = threading.Lock()
        self._reader = self._connect()
        self._writer = Writer(self._connect(), directory / "payments.lock")

    def migrate(self) -> list[int]:
        """Migrate the schema to this revision; return the applied versions."""
        with self._reading:
            return schema.migrate(self._reader)

    def close(self) -> None:
        """Finish pending writes and close the database."""
        self._writer.close()
        self._reader.close()

    def create(self, order: Order) -> tuple[Payment, bool]:
        """Store the payment or find the one with its key; return it and whether it is new."""

        def job(connection: sqlite3.Connection) -> tuple[Payment, bool]:
            found = connection.execute(
                f"SELECT fingerprint, {COLUMNS} FROM payments WHERE idempotency_key = ?", (order.key,)
            ).fetchall()
            if not found:
                return _insert(connection, order), True
            fingerprint, *row = found[0]
            if fingerprint != order.fingerprint:
                raise ConflictError("this Idempotency-Key was used for another payment")
            return Payment(*row), False

        return self._writer.run(job)

    def cancel(self, payment_id: str) -> Payment:
        """Cancel a pending payment."""

        def job(connection: sqlite3.Connection) -> Payment:
            payment = _one(connection, payment_id)
            if payment.status != "pending":
                raise ConflictError(f"the payment is {payment.status}; only a pending one can be cancelled")
            connection.execute("UPDATE payments SET status = 'cancelled' WHERE number = ?", (payment.number,))
            return _one(connection, payment_id)

        return self._writer.run(job)

    def advance(self, before: str, after: str, *, created_before: str) -> int:
        """Move up to `BATCH` payments to the next status; return how many."""
        statement = (
            "UPDATE payments SET status = ? WHERE number IN (SELECT number FROM payments"
            " WHERE status = ? AND created_at <= ? ORDER BY number LIMIT ?)"
        )
        values = (after, before, created_before, BATCH)
        return self._writer.run(lambda connection: connection.execute(statement, values).rowcount)

    def settle(self) -> int:
        """Add all unsettled paid payments to a new settlement; return how many."""

        def job(connection: sqlite3.Connection) -> int:
            unsettled = "FROM payments WHERE status = 'paid' AND settlement IS NULL"
            count: int = connection.execute(f"SELECT count(*) {unsettled}").fetchone()[0]
            if count:
                row = (count, settings.now(), settings.revision())
                inserted = connection.execute("INSERT INTO settlements VALUES (NULL, ?, ?, ?)", row)
                connection.execute(
                    f"UPDATE payments SET settlement = ? WHERE number IN (SELECT number {unsettled})",
                    (inserted.lastrowid,),
                )
            return count

        return self._writer.run(job)

    def get(self, payment_id: str) -> Payment:
        """Return the payment with this id."""
        with self._reading:
            return _one(self._reader, payment_id)

    def after(self, number: int, limit: int) -> list[Payment]:
        """Return up to `limit` payments after `number`, in the order of storage."""
        rows = self._read(f"SELECT {COLUMNS} FROM payments WHERE number > ? ORDER BY number LIMIT ?", number, limit)
        return [Payment(*row) for row in rows]

    def counts(self, day: str = "") -> dict[str, int]:
        """Return the number of payments by status, of a day (`2024-05-31`), a month, a year or all time."""
        return dict(
            self._read(
                "SELECT status, count(*) FROM payments WHERE substr(created_at, 1, ?) = ? GROUP BY status",
                len(day),
                day,
            )
        )

    def check(self) -> int:
        """Read from the database for the health check; return the schema's version."""
        with self._reading:
            self._reader.execute("SELECT number FROM payments LIMIT 1").fetchall()
            return schema.version(self._reader)

    def _read(self, query: str, *values: Any) -> list[Any]:
        with self._reading:
            return self._reader.execute(query, values).fetchall()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = FULL")
        return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Retry while another container does the same: SQLite does not wait for its lock when it changes the journal mode."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _insert(connection: sqlite3.Connection, order: Order) -> Payment:
    payment_id = f"PM{uuid.uuid4().hex[:20].upper()}"
    connection.execute(
        "INSERT INTO payments (id, idempotency_key, fingerprint, amount, currency, mandate, reference, status,"
        " created_at, created_by) VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?)",
        (
            payment_id,
            order.key,
            order.fingerprint,
            order.amount,
            order.currency,
            order.mandate,
            order.reference,
            settings.now(),
            settings.revision(),
        ),
    )
    return _one(connection, payment_id)


def _one(connection: sqlite3.Connection, payment_id: str) -> Payment:
    rows = connection.execute(f"SELECT {COLUMNS} FROM payments WHERE id = ?", (payment_id,)).fetchall()
    if not rows:
        raise NotFoundError(f"payment {payment_id} does not exist")
    return Payment(*rows[0])
