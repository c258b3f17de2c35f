"""A definitions file's text into a tree with lines; everything that YAML would quietly read in its own way is told.

YAML 1.1 has octal and base-60 numbers, dates and more; none of them has a place in a definitions file.
"""

import math
import re
from typing import Any

import yaml

from conductor.definitions.problems import DefinitionsError, Problem
from conductor.definitions.tree import Node, Value, under

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_BOOL = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_DEEPEST = 40
_MOST = 100_000  # values, aliases counted each time: a small file can say a billion of them
_OTHERWISE = {
    "int": "another number than it looks like",
    "float": "another number than it looks like",
    "timestamp": "a date",
}


def read(text: str, file: str) -> tuple[Node, list[Problem]]:
    """The tree, and what is wrong with the text itself. `DefinitionsError` when it is no YAML at all."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(text, Loader=loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise _not_yaml(error, text, file) from None
    reader = _Reader(file)
    return (reader.node(root, "", 1) if root else Node(None, "", 1)), reader.problems


class _Reader:
    """StartLimit composed nodes into ours, counting them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._count = 0

    def node(self, node: yaml.Node, key: str, line: int, depth: int = 0) -> Node:
        """`line` is that of the key, where there is one."""
        self._count += 1
        if depth > _DEEPEST:
            raise self._refused(line, "is nested too deeply, or contains itself")
        if self._count > _MOST:
            raise self._refused(line, f"has more than {_MOST} values")
        value: Value
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node, key, line, depth + 1)
        elif isinstance(node, yaml.SequenceNode):
            value = [
                self.node(inner, under(key, index), inner.start_mark.line + 1, depth + 1)
                for index, inner in enumerate(node.value)
            ]
        else:
            value = self._scalar(node, key, line)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in {_TAG + "map", _TAG + "seq"}:
            self._say(
                line, key, f"the tag {node.tag.removeprefix(_TAG)} has no meaning here: write the value without it"
            )
        return Node(value, key, line)

    def _mapping(self, node: yaml.MappingNode, key: str, line: int, depth: int) -> dict[str, Node]:
        inside: dict[str, Node] = {}
        shared: dict[str, Node] = {}
        for name_node, node_value in node.value:
            at = name_node.start_mark.line + 1
            if name_node.tag == _TAG + "merge":
                self._share(shared, node_value, key, at, depth)
                continue
            name = self._name(name_node, key, at)
            path = under(key, name)
            if name in inside:
                self._say(at, path, f"is written twice: first on line {inside[name].line}; keep one")
            else:
                inside[name] = self.node(node_value, path, at, depth)
        return shared | inside if shared else inside

    def _share(self, shared: dict[str, Node], node: yaml.Node, key: str, line: int, depth: int) -> None:
        """`<<: *anchor`: what it brings, under what is written beside it; of several, the first one wins."""
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            brought = self.node(source, key, line, depth).value
            if isinstance(brought, dict):
                shared.update({name: value for name, value in brought.items() if name not in shared})
            else:
                self._say(line, under(key, "<<"), "must be a mapping, for example *anchor")

    def _name(self, node: yaml.Node, key: str, line: int) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._say(line, key, "has a key that is no text: write the key as one word")
            return "?"
        if node.tag not in {_TAG + "str", _TAG + "value"}:
            self._say(line, under(key, node.value), "YAML does not read this key as text: put the key in quotes")
        return str(node.value)

    def _scalar(self, node: yaml.Node, key: str, line: int) -> Any:
        tag, text = node.tag.removeprefix(_TAG), node.value
        if tag in {"str", "value", "merge"}:
            return text
        if tag == "null":
            return None
        if tag == "bool" and text.lower() in _BOOL:
            return _BOOL[text.lower()]
        if tag == "int" and _INT.fullmatch(text) and len(text) < 20:
            return int(text)
        if tag == "float" and "_" not in text and (number := _float(text)) is not None:
            return number
        if tag in _OTHERWISE:
            self._say(line, key, f"YAML reads this as {_OTHERWISE[tag]}: put it in quotes")
        else:
            self._say(line, key, f"the tag {tag} has no meaning here: write the value without it")
        return text

    def _refused(self, line: int, why: str) -> DefinitionsError:
        return DefinitionsError(self.file, [Problem(self.file, line, "", why)])

    def _say(self, line: int, key: str, sentence: str) -> None:
        self.problems.append(Problem(self.file, line, key, sentence))


def _float(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _not_yaml(error: yaml.YAMLError | RecursionError, text: str, file: str) -> DefinitionsError:
    """Where the text stops being YAML, and why."""
    mark = getattr(error, "problem_mark", None)
    line, why = 1, "is nested too deeply"
    if isinstance(error, yaml.reader.ReaderError):
        # Its position counts bytes or letters, depending on the loader.
        line = text.count("\n", 0, text.find(chr(error.character))) + 1
        why = f"is not YAML: the character #x{error.character:04x} is not allowed"
    elif mark is not None:
        line = mark.line + 1
        parts = (getattr(error, "context", None), getattr(error, "problem", None))
        why = "is not YAML: " + ", ".join(part for part in parts if part)
        lines = text.splitlines()
        if line <= len(lines) and lines[line - 1].lstrip(" ").startswith("\t"):
            why = "is not YAML: indentation must be spaces, here is a tab"
        elif "nesting depth" in why:  # newer libyamls have a limit of their own, and no class of error for it
            why = "is nested too deeply"
    return DefinitionsError(file, [Problem(file, line, "", why)])
