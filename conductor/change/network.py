"""The instance's network, made by whoever needs it first."""

from conductor.change.doors import Doors

ADDRESSES_LOCK_SECONDS = 180  # its holder asks the daemon twice


def ensure_network(doors: Doors) -> None:
    """Under the lock of the addresses, so that two make one."""
    with doors.locks.hold("addresses", wait_seconds=ADDRESSES_LOCK_SECONDS):
        doors.engine.ensure_network(doors.host.network)
