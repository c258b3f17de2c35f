"""What the rest of Conductor asks of the thing that carries traffic; one implementation until there is a second."""

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from conductor.plan.values import Worker
from conductor.proxy.render import Site


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """How a drain ended. `cut` counts requests that were still with an old container at the deadline, `silent` client
    connections that had sent none; `survivors` are old workers that live on."""

    survivors: tuple[Worker, ...] = ()
    cut: int = 0
    silent: int = 0


class Proxy(Protocol):
    """The host's nginx."""

    def check(self, sites: tuple[Site, ...]) -> None:
        """Refuse now, changing nothing, what would make a cutover to `sites` fail: a broken tree, nginx not running."""

    def in_force(self, sites: tuple[Site, ...]) -> bool:
        """Whether running workers already serve exactly `sites`."""

    def switch(self, sites: tuple[Site, ...], ahead: Callable[[tuple[Worker, ...]], None], *, force: bool) -> None:
        """Send new requests to `sites`, proven; an error when it cannot be proven.

        `ahead` gets the workers of before, before anything is changed: none when the running ones serve exactly that
        already and nothing needs doing. With `force` it is done all the same, so that afterwards no worker that was
        told something else accepts anybody.
        """

    def drain(
        self, workers: tuple[Worker, ...], addresses: tuple[str, ...], seconds: float, waiting: Callable[[str], None]
    ) -> Drained:
        """Wait until no request can reach, or is in, `addresses` through `workers`; at most `seconds`."""

    def install(self, sites: tuple[Site, ...], gone: tuple[str, ...]) -> tuple[str, ...]:
        """Write the files of `sites` and remove those named in `gone`; the names that changed."""

    def texts(self, sites: tuple[Site, ...]) -> dict[str, tuple[str, bool]]:
        """The files as they should be, by name, and whether each one is in place."""

    def living(self, workers: Iterable[Worker]) -> frozenset[Worker]:
        """Those of `workers` that live."""
