import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.definitions.tree import NOTHING, Node, find, merge, plain, tree

NAMES = st.sampled_from(["a", "b", "c", "d"])
LEAVES = st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2)
MAPPINGS = st.dictionaries(NAMES, LEAVES | st.dictionaries(NAMES, LEAVES, max_size=3), max_size=4)


def merged(below: object, over: object) -> object:
    return plain(merge(merge(NOTHING, tree(below, "defaults")), tree(over, "services.x")))


def without_null(value: object) -> object:
    if isinstance(value, dict):
        return {name: without_null(inner) for name, inner in value.items() if inner is not None}
    return value


@pytest.mark.parametrize(
    ("below", "over", "expected"),
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
def test_merge(below: object, over: object, expected: object) -> None:
    assert merged(below, over) == expected


@given(MAPPINGS)
def test_nothing_is_neutral(value: object) -> None:
    assert merged({}, value) == merged(value, {}) == without_null(value)


@given(MAPPINGS, MAPPINGS)
def test_merging_the_same_again_changes_nothing(below: object, over: object) -> None:
    once = merged(below, over)
    assert merged(once, over) == once


@given(MAPPINGS, MAPPINGS)
def test_what_is_written_wins(below: dict[str, object], over: dict[str, object]) -> None:
    result = merged(below, over)
    assert isinstance(result, dict)
    assert all(result[name] == value for name, value in over.items() if isinstance(value, int | str | list))
    assert not any(name in result for name, value in over.items() if value is None)


def test_a_merged_value_knows_where_it_was_written() -> None:
    below = Node({"stop": Node({"grace": Node(1, "defaults.stop.grace", 3)}, "defaults.stop", 2)}, "defaults", 1)
    over = Node(
        {"stop": Node({"signal": Node("X", "services.x.stop.signal", 9)}, "services.x.stop", 8)},
        "services.x",
        7,
    )
    both = merge(below, over)
    assert find(both, ("stop", "grace"))[1:] == ("defaults.stop.grace", 3)
    assert find(both, ("stop", "signal"))[1:] == ("services.x.stop.signal", 9)
    assert find(both, ("stop", "missing"))[1:] == ("services.x.stop.missing", 8)
    assert find(both, ("nginx", "server"))[1:] == ("services.x.nginx.server", 7)
