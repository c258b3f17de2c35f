"""The contents of a file before validation: values with the line and the key path where they were written (pure)."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

Path = tuple[str | int, ...]
Finding = tuple[int, str, str]  # line, key path, sentence
Value: TypeAlias = "bool | int | float | str | list[Node] | dict[str, Node] | None"

_UNWRITABLE = "must not contain a NUL character or an unpaired surrogate"


class Node(NamedTuple):
    """One value. `key` is the path where it was written (`defaults.stop.grace`), even after a merge into a service."""

    value: Value
    key: str
    line: int = 0


EMPTY = Node({}, "")


def child_key(key: str, name: str | int) -> str:
    """Return the key path of a child of `key`: a key of a mapping, or an index of a list."""
    if isinstance(name, int):
        return f"{key}[{name}]"
    return f"{key}.{name}" if key else name


def tree(value: Any, key: str) -> Node:
    """Return the tree of a stored value (JSON's types), which has no lines."""
    if isinstance(value, dict):
        return Node({name: tree(inner, child_key(key, name)) for name, inner in value.items()}, key)
    if isinstance(value, list | tuple):
        return Node([tree(inner, child_key(key, index)) for index, inner in enumerate(value)], key)
    return Node(value, key)


def plain(node: Node) -> Any:
    """Return the value in JSON's types."""
    value = node.value
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def merge(base: Node, override: Node) -> Node:
    """Return `base` with `override` on top: mappings are merged deeply, other values replaced; null removes a key."""
    if not isinstance(override.value, dict):
        return override
    merged = dict(base.value) if isinstance(base.value, dict) else {}
    for name, node in override.value.items():
        if node.value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name, EMPTY), node)
    return override._replace(value=merged)


def replaced(node: Node, path: Path, change: Callable[[Node], Node]) -> Node:
    """Return the tree with `change` applied at `path`; the same tree when there is nothing at `path`."""
    if not path:
        return change(node)
    if not isinstance(node.value, dict) or path[0] not in node.value:
        return node
    name = str(path[0])
    return node._replace(value={**node.value, name: replaced(node.value[name], path[1:], change)})


def find(node: Node, path: Path) -> Node:
    """Return the node at `path`; if it is missing, an empty node with the line of the mapping that lacks it."""
    for step, name in enumerate(path):
        inside = node.value
        if isinstance(inside, dict) and name in inside:
            node = inside[str(name)]
        elif isinstance(inside, list) and isinstance(name, int):
            node = inside[name]
        else:
            key = node.key
            for missing in path[step:]:
                key = child_key(key, missing)
            return Node(None, key, node.line)
    return node


def unwritable_texts(node: Node) -> Iterator[Finding]:
    """Yield every text that cannot be a file name, an argument or part of a file."""
    value = node.value
    if isinstance(value, str):
        if _unwritable(value):
            yield node.line, node.key, _UNWRITABLE
    elif isinstance(value, list):
        for inner in value:
            yield from unwritable_texts(inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if _unwritable(name):
                yield inner.line, inner.key, f"name {_UNWRITABLE}"
            yield from unwritable_texts(inner)


def _unwritable(text: str) -> bool:
    """Return whether a text has a NUL or a surrogate (half of a UTF-16 pair)."""
    return "\0" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text))
