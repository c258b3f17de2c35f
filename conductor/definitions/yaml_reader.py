"""Read the text of a definitions file into a tree with lines, and report what YAML 1.1 would silently misread.

YAML 1.1 reads 0123 as octal, 12:30 as base 60 and 2024-01-01 as a date; a definitions file must quote such texts.
"""

import math
import re
from typing import Any

import yaml

from conductor.definitions.problems import DefinitionsError, Problem
from conductor.definitions.tree import Node, Value, child_key

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_BOOL = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_MAX_DEPTH = 40
_MAX_VALUES = 100_000  # each use of an alias counts: a file of a few lines can expand to billions of values
_MISREAD_AS = {
    "int": "a number in another notation",
    "float": "a number in another notation",
    "timestamp": "a date",
}
_TOO_DEEP = f"nested more than {_MAX_DEPTH} levels deep, or an alias that contains itself; remove levels"
_TEMPLATE = "this looks like a template that was not rendered; render it, or put the text in quotes"
_TEMPLATE_TAG = re.compile(r"\{\{|\{%|<%")
# The start of a word that YAML reads as text only in quotes, for example the server name *.example.com.
_NEEDS_QUOTES = re.compile(r"(?:^|[\s\[{,])[*&%@`]\S*$")


def read(text: str, file: str) -> tuple[Node, list[Problem]]:
    """Return the tree and the problems of the text itself. Raise `DefinitionsError` if it is not valid YAML."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if len(text) > 2 * _MAX_VALUES:  # a shorter text has fewer values
            _refuse_too_many(text, loader, file)
        root = yaml.compose(text, Loader=loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise _invalid_yaml(error, text, file) from None
    reader = _Reader(file)
    return (reader.node(root, "", 1) if root else Node(None, "", 1)), reader.problems


def _refuse_too_many(text: str, loader: Any, file: str) -> None:
    """Count before the tree is made, which takes 300 bytes of memory for each value (measured with a million)."""
    nodes = 0
    for event in yaml.parse(text, Loader=loader):
        nodes += isinstance(event, yaml.NodeEvent)
        if nodes > 2 * _MAX_VALUES + 1:  # a value, and perhaps its key
            raise _too_many(file, 1 + (event.start_mark.line if event.start_mark else 0))


def _too_many(file: str, line: int) -> DefinitionsError:
    sentence = f"more than {_MAX_VALUES} values, counting each use of an alias; remove some"
    return DefinitionsError(file, [Problem(file, line, "", sentence)])


class _Reader:
    """Convert PyYAML's nodes into `Node` values, counting them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._count = 0

    def node(self, node: yaml.Node, key: str, line: int, depth: int = 0) -> Node:
        """Convert one node. `line` is the line of its key, or of the value itself if it has no key."""
        self._count += 1
        if depth > _MAX_DEPTH:
            raise self._error(line, _TOO_DEEP)
        if self._count > _MAX_VALUES:
            raise _too_many(self.file, line)
        value: Value
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node, key, line, depth + 1)
        elif isinstance(node, yaml.SequenceNode):
            value = [
                self.node(inner, child_key(key, index), inner.start_mark.line + 1, depth + 1)
                for index, inner in enumerate(node.value)
            ]
        else:
            value = self._scalar(node, key, line)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in {_TAG + "map", _TAG + "seq"}:
            self._unsupported_tag(node, key, line)
        return Node(value, key, line)

    def _mapping(self, node: yaml.MappingNode, key: str, line: int, depth: int) -> dict[str, Node]:
        inside: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for name_node, node_value in node.value:
            name_line = name_node.start_mark.line + 1
            if name_node.tag == _TAG + "merge":
                self._merge_key(merged, node_value, key, name_line, depth)
                continue
            name = self._name(name_node, key, name_line)
            path = child_key(key, name)
            if name in inside:
                self._problem(name_line, path, f"duplicate key, first on line {inside[name].line}; remove one")
            else:
                inside[name] = self.node(node_value, path, name_line, depth)
        return merged | inside if merged else inside

    def _merge_key(self, merged: dict[str, Node], node: yaml.Node, key: str, line: int, depth: int) -> None:
        """Add the keys of `<<: *anchor` or `<<: [*a, *b]` to `merged`; the first anchor that has a key wins."""
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            value = self.node(source, key, line, depth).value
            if isinstance(value, dict):
                merged.update({name: inner for name, inner in value.items() if name not in merged})
            else:
                self._problem(line, child_key(key, "<<"), "must be a mapping, for example *anchor")

    def _name(self, node: yaml.Node, key: str, line: int) -> str:
        if not isinstance(node, yaml.ScalarNode):
            is_template = isinstance(node, yaml.MappingNode) and node.flow_style
            sentence = _TEMPLATE if is_template else "a key must be text, not a list or a mapping; write it as one word"
            self._problem(line, key, sentence)
            return "?"
        # YAML 1.1 reads the key `on` as true; `notify` has a key of this name.
        is_events = node.value == "on" and key.endswith("notify")
        if node.tag not in {_TAG + "str", _TAG + "value"} and not is_events:
            self._problem(line, child_key(key, node.value), "YAML does not read this key as text; put it in quotes")
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
        if tag in _MISREAD_AS:
            self._problem(line, key, f"YAML reads this as {_MISREAD_AS[tag]}; put it in quotes")
        else:
            self._unsupported_tag(node, key, line)
        return text

    def _error(self, line: int, sentence: str) -> DefinitionsError:
        return DefinitionsError(self.file, [Problem(self.file, line, "", sentence)])

    def _problem(self, line: int, key: str, sentence: str) -> None:
        self.problems.append(Problem(self.file, line, key, sentence))

    def _unsupported_tag(self, node: yaml.Node, key: str, line: int) -> None:
        self._problem(line, key, f"unsupported YAML tag {node.tag.replace(_TAG, '!!')}; remove the tag")


def _float(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _invalid_yaml(error: yaml.YAMLError | RecursionError, text: str, file: str) -> DefinitionsError:
    """Return the error with the line where the text is not valid YAML, and the reason."""
    mark = getattr(error, "problem_mark", None)
    line, sentence = 1, _TOO_DEEP
    if isinstance(error, yaml.reader.ReaderError):
        # The position in the error counts bytes or characters, depending on the loader, so search for the character.
        line = text.count("\n", 0, text.find(chr(error.character))) + 1
        sentence = f"invalid YAML: the character #x{error.character:04x} is not allowed; remove it"
    elif mark is not None:
        line = mark.line + 1
        parts = (getattr(error, "context", None), getattr(error, "problem", None))
        sentence = "invalid YAML: " + ", ".join(part for part in parts if part)
        lines = text.splitlines()
        near = lines[max(line - 2, 0) : line]  # the parser may notice the error on the next line
        if line <= len(lines) and lines[line - 1].lstrip(" ").startswith("\t"):
            sentence = "invalid YAML: a tab in the indentation; indent with spaces"
        elif any(_TEMPLATE_TAG.search(written) for written in near):
            sentence = f"invalid YAML: {_TEMPLATE}"
        elif line <= len(lines) and _NEEDS_QUOTES.search(lines[line - 1][: mark.column + 1]):
            sentence += "; put the text in quotes"
    return DefinitionsError(file, [Problem(file, line, "", sentence)])
