"""Results of queries as text: aligned columns for people, one JSON document for programs."""

from collections.abc import Sequence

import msgspec


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows with aligned columns, two spaces apart, without trailing spaces."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def as_document(value: object) -> str:
    """Return indented JSON without a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
