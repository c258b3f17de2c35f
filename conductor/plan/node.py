"""A node of a fleet (pure)."""

import msgspec


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node, as the managers see it. `is_reachable`: this manager takes part in decisions. `is_edge`: it has the label of an
    edge. `clock_offset` is how many seconds its clock is ahead of the leader's; None when that is not known."""

    name: str
    address: str
    is_up: bool
    is_manager: bool
    is_reachable: bool
    is_edge: bool
    clock_offset: float | None = None
