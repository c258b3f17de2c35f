import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.definitions.tree import EMPTY, Node, find, merge, plain, tree

NAMES = st.sampled_from(["a", "b", "c", "d"])
LEAVES = st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2)
MAPPINGS = st.dictionaries(NAMES, LEAVES | st.dictionaries(NAMES, LEAVES, max_size=3), max_size=4)


def merged(base: object, override: object) -> object:
    return plain(merge(merge(EMPTY, tree(base, "defaults")), tree(override, "services.x")))


def without_null(value: object) -> object:
    if isinstance(value, dict):
        return {name: without_null(inner) for name, inner in value.items() if inner is not None}
    return value


@pytest.mark.parametrize(
    ("base", "override", "expected"),
    [
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": {"x": 1}}, {"a": {"x": None}}, {"a": {}}),
        ({"a": {"x": 1}}, {"a": "text"}, {"a": "text"}),
        ({"a": "text"}, {"a": {"x": 1, "y": None}}, {"a": {"x": 1}}),
        ({"a": None}, {}, {}),
    ],
)
def test_merge(base: object, override: object, expected: object) -> None:
    assert merged(base, override) == expected


@given(MAPPINGS)
def test_merging_with_an_empty_mapping_changes_nothing(value: object) -> None:
    assert merged({}, value) == merged(value, {}) == without_null(value)


@given(MAPPINGS, MAPPINGS)
def test_merging_twice_changes_nothing(base: object, override: object) -> None:
    once = merged(base, override)
    assert merged(once, override) == once


@given(MAPPINGS, MAPPINGS)
def test_override_wins(base: dict[str, object], override: dict[str, object]) -> None:
    result = merged(base, override)
    assert isinstance(result, dict)
    assert all(result[name] == value for name, value in override.items() if isinstance(value, int | str | list))
    assert not any(name in result for name, value in override.items() if value is None)


def test_a_merged_value_keeps_its_place() -> None:
    base = Node({"stop": Node({"grace": Node(1, "defaults.stop.grace", 3)}, "defaults.stop", 2)}, "defaults", 1)
    override = Node(
        {"stop": Node({"signal": Node("X", "services.x.stop.signal", 9)}, "services.x.stop", 8)},
        "services.x",
        7,
    )
    both = merge(base, override)
    assert find(both, ("stop", "grace"))[1:] == ("defaults.stop.grace", 3)
    assert find(both, ("stop", "signal"))[1:] == ("services.x.stop.signal", 9)
    assert find(both, ("stop", "missing"))[1:] == ("services.x.stop.missing", 8)
    assert find(both, ("nginx", "server"))[1:] == ("services.x.nginx.server", 7)
