"""Answers of queries as text: aligned columns for people, one JSON document for programs."""

from collections.abc import Sequence

import msgspec


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned by two blanks, without trailing ones."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def as_document(value: object) -> str:
    """Indented JSON without a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
