"""The notes on a service: the commands that they name."""

import pytest

from conductor.definitions.host import Host, HostFleet
from conductor.snapshot.service_notes import repair_command


@pytest.mark.parametrize(
    ("fleet", "command"),
    [(None, "conductor supervise --once"), (HostFleet(ports=(21000, 21099)), "systemctl start conductor-supervise")],
)
def test_the_command_that_repairs(fleet: HostFleet | None, command: str) -> None:
    """`supervise --once` is rejected on an edge of a fleet."""
    assert repair_command(Host(fleet=fleet)) == command
