"""What `systemctl show` prints about a unit."""

import pytest

from conductor.systemctl import Unit, parse


@pytest.mark.parametrize(
    ("shown", "unit"),
    [
        ("LoadState=loaded\nUnitFileState=enabled\nActiveState=active\n", Unit(True, True, True)),
        ("LoadState=loaded\nUnitFileState=disabled\nActiveState=inactive\n", Unit(True, False, False)),
        ("LoadState=not-found\nUnitFileState=\nActiveState=inactive\n", Unit(False, False, False)),
        pytest.param("", None, id="systemd is not responding: only its standard error has a text"),
    ],
)
def test_the_states_of_a_unit(shown: str, unit: Unit | None) -> None:
    assert parse(shown) == unit
