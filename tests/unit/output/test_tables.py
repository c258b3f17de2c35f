"""Tables and JSON documents as text."""

import json

from conductor.output.tables import as_document, as_table


def test_a_table() -> None:
    assert as_table([("A", "B", "C"), ("long", "", "x"), ("1", "two", "")]) == "A     B    C\nlong       x\n1     two"


def test_a_document() -> None:
    text = as_document({"a": ["ä", None]})
    assert json.loads(text) == {"a": ["ä", None]}
    assert text.startswith("{\n  ")
    assert not text.endswith("\n")
