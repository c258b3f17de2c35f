"""Every way in which one value of a JSON document can be missing, or have another type than it should."""

import copy
import itertools
from collections.abc import Iterator
from typing import Any

OTHER: tuple[Any, ...] = (None, True, 42, -1, 10**30, 1.5, "x", "\ud800", [], ["x"], [None], {}, {"x": None})
BODIES = {
    "a page": b"<html>",
    "nothing": b"",
    "an incomplete document": b'{"Id": "x", ',
    "nesting": b"[" * 5000 + b"]" * 5000,
    "nested objects": b'{"Id": ' * 5000 + b"1" + b"}" * 5000,
    "no UTF-8": b'{"Id": "\xff"}',
    "numbers without an end": b'{"Created": 1e999999, "Size": NaN}',
}


def damaged(document: Any, *, every: bool) -> Iterator[tuple[str, Any]]:
    """Yield what was changed, and the changed copy: each value is removed, and gets another type, or `every` other one."""
    kinds = itertools.cycle(OTHER)
    for path in _paths(document):
        for other in OTHER if every else (next(kinds),):
            yield f"{'.'.join(map(str, path))} = {other!r:.20}", _with(document, path, other)
        if path:
            yield f"{'.'.join(map(str, path))} removed", _without(document, path)


def _paths(document: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield above
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in inside:
        yield from _paths(value, (*above, key))


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def _with(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(document)
    _at(changed, path[:-1])[path[-1]] = value
    return changed


def _without(document: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(document)
    del _at(changed, path[:-1])[path[-1]]
    return changed
