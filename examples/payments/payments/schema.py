"""The database schema as a list of migrations. Each is applied once; a run is one transaction."""

import sqlite3

from payments import settings

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE payments (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            idempotency_key TEXT NOT NULL UNIQUE,
            fingerprint TEXT NOT NULL,
            amount INTEGER NOT NULL CHECK (amount > 0),
            currency TEXT NOT NULL,
            mandate TEXT NOT NULL,
            reference TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('pending', 'submitted', 'paid', 'cancelled')),
            created_at TEXT NOT NULL,
            created_by TEXT NOT NULL
        )
        """,
        "CREATE INDEX payments_open ON payments (status, number) WHERE status IN ('pending', 'submitted')",
    ),
    (
        """
        CREATE TABLE settlements (
            number INTEGER PRIMARY KEY,
            payments INTEGER NOT NULL,
            settled_at TEXT NOT NULL,
            settled_by TEXT NOT NULL
        )
        """,
        "ALTER TABLE payments ADD COLUMN settlement INTEGER REFERENCES settlements (number)",
        "CREATE INDEX payments_unsettled ON payments (number) WHERE status = 'paid' AND settlement IS NULL",
    ),
)


def version(connection: sqlite3.Connection) -> int:
    """Return the schema's version: the number of applied migrations."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_versions'").fetchall():
        return 0
    return int(connection.execute("SELECT coalesce(max(version), 0) FROM schema_versions").fetchall()[0][0])


def migrate(connection: sqlite3.Connection) -> list[int]:
    """Apply missing migrations and return their versions. A schema newer than this revision is not changed.

    Containers may run this concurrently: they wait for the write lock and then find the migrations applied.
    """
    if version(connection) >= len(MIGRATIONS):
        return []
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions (version INTEGER PRIMARY KEY, applied_at TEXT, applied_by TEXT)"
        )
        applied = list(range(version(connection) + 1, len(MIGRATIONS) + 1))
        for number in applied:
            for statement in MIGRATIONS[number - 1]:
                connection.execute(statement)
            row = (number, settings.now(), settings.revision())
            connection.execute("INSERT INTO schema_versions VALUES (?, ?, ?)", row)
    return applied
