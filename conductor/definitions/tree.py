"""What a file says, before anybody judges it: values that know the line and the key path they were written at (pure)."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

Path = tuple[str | int, ...]
Value: TypeAlias = "bool | int | float | str | list[Node] | dict[str, Node] | None"


class Node(NamedTuple):
    """One value; `key` is where it was written (`defaults.stop.grace`), also after it was merged into a service."""

    value: Value
    key: str
    line: int = 0


def under(key: str, name: str | int) -> str:
    """The key path of what stands inside `key`."""
    if isinstance(name, int):
        return f"{key}[{name}]"
    return f"{key}.{name}" if key else name


def tree(value: Any, key: str) -> Node:
    """The tree of a stored mapping (JSON's types), which has no lines."""
    if isinstance(value, dict):
        return Node({name: tree(inner, under(key, name)) for name, inner in value.items()}, key)
    if isinstance(value, list | tuple):
        return Node([tree(inner, under(key, index)) for index, inner in enumerate(value)], key)
    return Node(value, key)


def plain(node: Node) -> Any:
    """The value in JSON's types."""
    value = node.value
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def merge(below: Node, over: Node) -> Node:
    """`over` on top of `below`: mappings deeply, everything else replaced, null removes (also where nothing was)."""
    if not isinstance(over.value, dict):
        return over
    merged = dict(below.value) if isinstance(below.value, dict) else {}
    for name, node in over.value.items():
        if node.value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name, NOTHING), node)
    return over._replace(value=merged)


NOTHING = Node({}, "")


def find(node: Node, path: Path) -> Node:
    """What stands at `path`; where nothing was written, the place where it is missing."""
    for step, name in enumerate(path):
        inside = node.value
        if isinstance(inside, dict) and name in inside:
            node = inside[str(name)]
        elif isinstance(inside, list) and isinstance(name, int):
            node = inside[name]
        else:
            key = node.key
            for missing in path[step:]:
                key = under(key, missing)
            return Node(None, key, node.line)
    return node


def odd_text(node: Node, say: Callable[[int, str, str], None]) -> None:
    """Tell of texts that no file name, argument or file can hold, wherever they stand."""
    value = node.value
    if isinstance(value, str):
        if unwritable(value):
            say(node.line, node.key, "must not contain a NUL or half a character")
    elif isinstance(value, list):
        for inner in value:
            odd_text(inner, say)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if unwritable(name):
                say(inner.line, inner.key, "its name must not contain a NUL or half a character")
            odd_text(inner, say)


def unwritable(text: str) -> bool:
    """Whether a text cannot be an argument or stand in a file: NUL, or a surrogate (half of a UTF-16 pair)."""
    return "\0" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text))
