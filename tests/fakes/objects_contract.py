"""The behaviours that every store of shared objects has, as one table: `FakeObjects` in unit tests, Swarm in a host test."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from conductor.state.fleet.objects import Objects

BEHAVIOURS: list[Callable[[Objects], None]] = []


def behaviour(test: Callable[[Objects], None]) -> Callable[[Objects], None]:
    """Add a behaviour to the table."""
    BEHAVIOURS.append(test)
    return test


@behaviour
def life_of_an_object(objects: Objects) -> None:
    assert objects.read("web") is None
    assert objects.create("web", {"wanted": "1", "journal": '{"a": "ü"}'})
    found = objects.read("web")
    assert found is not None
    assert (found.name, found.values) == ("web", {"wanted": "1", "journal": '{"a": "ü"}'})
    assert objects.write(found, {"wanted": "2"})
    again = objects.read("web")
    assert again is not None
    assert (again.id, again.values) == (found.id, {"wanted": "2"})
    assert again.version > found.version
    objects.remove("web")
    assert objects.read("web") is None
    objects.remove("web")


@behaviour
def a_stale_write_changes_nothing(objects: Objects) -> None:
    objects.create("web", {"wanted": "1"})
    found = objects.read("web")
    assert found is not None
    assert objects.write(found, {"wanted": "2"})
    assert not objects.write(found, {"wanted": "3"})
    now = objects.read("web")
    assert now is not None
    assert now.values == {"wanted": "2"}


@behaviour
def a_write_to_an_object_that_was_removed(objects: Objects) -> None:
    objects.create("web", {"wanted": "1"})
    found = objects.read("web")
    assert found is not None
    objects.remove("web")
    assert not objects.write(found, {"wanted": "2"})
    assert objects.create("web", {"wanted": "3"})
    assert not objects.write(found, {"wanted": "2"})


@behaviour
def one_of_several_creations_succeeds(objects: Objects) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda number: objects.create("claim", {"by": str(number)}), range(8)))
    assert sum(made) == 1
    found = objects.read("claim")
    assert found is not None
    assert found.values == {"by": str(made.index(True))}


@behaviour
def no_increment_is_lost(objects: Objects) -> None:
    objects.create("count", {"number": "0"})

    def increment(_: int) -> None:
        while True:
            found = objects.read("count")
            assert found is not None
            if objects.write(found, {"number": str(int(found.values["number"]) + 1)}):
                return

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(increment, range(30)))
    found = objects.read("count")
    assert found is not None
    assert found.values == {"number": "30"}


@behaviour
def names_and_sizes(objects: Objects) -> None:
    name = f"{'w' * 63}.{'x' * 30}"
    assert objects.create(name, {"wanted": "w" * 300_000})
    assert objects.create("edge.h1", {})
    assert [(one.name, sum(map(len, one.values.values()))) for one in objects.read_all()] == [
        ("edge.h1", 0),
        (name, 300_000),
    ]
