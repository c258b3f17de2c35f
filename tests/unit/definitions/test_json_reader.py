"""A definitions file that is JSON: it is read without PyYAML only where YAML reads the same."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.definitions.json_reader import read_json
from conductor.definitions.load import load
from conductor.definitions.problems import DefinitionsError
from conductor.definitions.tree import Node, plain
from conductor.definitions.yaml_reader import read
from tests.unit.definitions.test_load import EXAMPLE

HEADER = "# Written by Chef.\n"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
FRAGMENTS = st.sampled_from(
    ['"a"', '"b"', ":", ": ", ",", "{", "}", "[", "]", "\n", " ", "\t", "\r", "1", "-1", "0123", "1.5", "1e3", "1.5e3", "true", "null",
     "NaN", "~", "yes", "#", "# x\n", '"\\u00e9"', '"\\ud83d\\ude00"', '"\x7f"', '"\u2028"', "'a'", "a", "&a", "*a", "---", "<<", '"<<"',
     '"\\/"', '"é"', "1" * 20, "_", "0x1f", "1:30", "2024-01-01"]
)  # fmt: skip


def nodes(node: Node) -> Any:
    """Return a tree with its key paths, without lines."""
    inner = node.value
    if isinstance(inner, dict):
        return node.key, {name: nodes(one) for name, one in inner.items()}
    return node.key, [nodes(one) for one in inner] if isinstance(inner, list) else (type(inner), inner)


def check(text: str) -> bool:
    """Return whether the text is read as JSON; YAML then reads the same, without a problem."""
    found = read_json(text)
    if found is None:
        return False
    root, problems = read(text, "f")
    assert (nodes(found), problems) == (nodes(root), [])
    assert list(plain(found)) == list(plain(root))
    return True


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4), st.sampled_from([None, 0, 2]), st.booleans())
def test_what_json_prints_is_read_as_yaml_reads_it(value: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
    check(HEADER + json.dumps(value, indent=indent, ensure_ascii=ascii_only))


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAGMENTS, max_size=14).map("".join))
def test_any_text_is_read_as_yaml_reads_it(text: str) -> None:
    check(f'{{"a": {text}}}')
    check(f"{HEADER}{text}")


@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        ('{"a": [1, -2, 1.5, true, null, "\\n\\"\\u00e9é"], "b": {}}', True),
        (HEADER + HEADER + '{"a": "0123"}\n', True),
        ('{"<<": "x", "on": "y"}', True),
        ('{"a": 1, "a": 2}', False),
        ('{"a": 1e3}', False),
        ('{"a": NaN}', False),
        ('{"a": -Infinity}', False),
        ('{"a": %s}' % ("1" * 20), False),
        ('{"a"\n: 1}', False),
        ('{"%s": 1}' % ("a" * 2000), False),
        ('{"a": "\u2028"}', False),
        ('{"a": "\x7f"}', False),
        ('{"a": "\\ud83d\\ude00"}', False),
        ('{"a":\t1}', False),
        ('{"a": %s}' % ("[" * 50 + "]" * 50), False),
        ('{"a": %s}' % ("[" * 50_000 + "]" * 50_000), False),
        ('{{"a": [{}]}}'.format(", ".join("1" * 100_001)), False),
        ('["a"]', False),
        ("{a: 1}", False),
        ('{"a": 1} # x', False),
        ("", False),
    ],
)
def test_which_texts_are_read_as_json(text: str, is_json: bool) -> None:
    if is_json:
        assert check(text)
    assert (read_json(text) is not None) is is_json


def test_a_valid_json_file_needs_no_yaml(tmp_path: Path) -> None:
    path = tmp_path / "services.yml"
    path.write_text(HEADER + json.dumps(yaml.safe_load(EXAMPLE.read_text()), indent=2))
    code = (
        "import sys; from pathlib import Path; from conductor.definitions.load import load\n"
        "assert load(Path(sys.argv[1])).services; sys.exit('yaml' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True)


@pytest.mark.parametrize(
    "broken", ['"image": 3', '"image": "x", "cuont": 1', '"image": "x"', '"image": "x", "count": 0, "user": "\\u0000"']
)
def test_problems_in_json_have_their_lines(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "services.yml"
    path.write_text(f'{HEADER}{{"version": 1, "services": {{\n"a": {{\n{broken}\n}}}}}}\n')
    problems = load(path).problems
    assert problems
    assert all(problem.line in {3, 4} for problem in problems)
    path.write_text(re.sub('"version": 1', '"version":\n2', path.read_text()))
    with pytest.raises(DefinitionsError) as raised:
        load(path)
    assert ":2: version:" in "\n".join(raised.value.details)
