"""The fake store of shared objects: the behaviours that it shares with Swarm, and a fleet without a leader."""

from collections.abc import Callable

import pytest

from conductor.runtime.port import RuntimeUnavailable
from conductor.state.fleet.objects import Objects
from tests.fakes.objects import FakeObjects
from tests.fakes.objects_contract import BEHAVIOURS


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
def test_contract(behaviour: Callable[[Objects], None]) -> None:
    behaviour(FakeObjects())


def test_without_a_leader() -> None:
    objects = FakeObjects()
    objects.create("web", {"wanted": "1"})
    objects.away = True
    for call in (lambda: objects.read("web"), objects.read_all, lambda: objects.create("a", {})):
        with pytest.raises(RuntimeUnavailable):
            call()
