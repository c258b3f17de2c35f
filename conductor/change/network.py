"""The instance's network, made by whoever needs it first."""

from conductor.change.context import Context

ADDRESSES_LOCK_SECONDS = 180  # its holder asks the daemon twice


def ensure_network(context: Context) -> None:
    """Under the lock of the addresses, so that two make one."""
    with context.locks.hold("addresses", wait_seconds=ADDRESSES_LOCK_SECONDS):
        context.runtime.ensure_network(context.host.network)
