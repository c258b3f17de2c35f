"""Read the text of a definitions file that is JSON, as the cookbook writes it: the import of PyYAML takes 15 ms (pure).

Only a text that YAML reads as the same values is accepted. Its tree has no lines: a file with a problem is read as YAML.
"""

import json
import re
from typing import Any

from conductor.definitions.tree import Node, child_key

_COMMENTS = re.compile(r"(?:#.*\n)*")
# Characters that YAML refuses or reads as line breaks, unpaired surrogates, and names that do not end on the line of the colon.
_YAML_DIFFERS = re.compile(r'[\t\r\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]|\\u[dD][89a-fA-F]|"\s*\n\s*:')
# Below the limits of YAML or of `yaml_reader`; no file without a problem is deeper.
_MAX_CHARACTERS, _MAX_NAME, _MAX_NUMBER, _MAX_DEPTH = 200_000, 128, 19, 20


def read_json(text: str) -> Node | None:
    """Return the tree, or None for a text that must be read as YAML."""
    text = text[_COMMENTS.match(text).end() :]  # type: ignore[union-attr]  # the pattern also matches an empty text
    if not text.startswith("{") or len(text) > _MAX_CHARACTERS or _YAML_DIFFERS.search(text):
        return None
    try:
        value = json.loads(
            text, object_pairs_hook=_mapping, parse_int=lambda digits: int(_number(digits)),
            parse_float=lambda digits: float(_number(digits)), parse_constant=_number,
        )  # fmt: skip
        return _node(value, "", 0)
    except (ValueError, RecursionError):
        return None


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs) or any(len(name) > _MAX_NAME for name in found):
        raise ValueError("a duplicate key or a long one")
    return found


def _number(text: str) -> str:
    """Refuse an exponent and `NaN`, which YAML reads as text, and long numbers."""
    if len(text) > _MAX_NUMBER or text.strip("-.0123456789"):
        raise ValueError(text)
    return text


def _node(value: Any, key: str, depth: int) -> Node:
    if depth > _MAX_DEPTH:
        raise ValueError(key)
    if isinstance(value, dict):
        return Node({name: _node(inner, child_key(key, name), depth + 1) for name, inner in value.items()}, key)
    if isinstance(value, list):
        return Node([_node(inner, child_key(key, index), depth + 1) for index, inner in enumerate(value)], key)
    return Node(value, key)
