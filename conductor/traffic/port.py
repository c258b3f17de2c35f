"""What the rest of Conductor asks of the thing that carries traffic; one implementation until there is a second."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from conductor.plan.values import Cutover, Worker
from conductor.traffic.render import Former, Route


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """How a drain ended. `cut` counts requests that were still with an old container at the deadline, `silent` client
    connections that had sent none; `survivors` are old workers that live on."""

    survivors: tuple[Worker, ...] = ()
    cut: int = 0
    silent: int = 0


class Traffic(Protocol):
    """The host's nginx."""

    def check(self, routes: tuple[Route, ...]) -> None:
        """Refuse now, changing nothing, what would make a cutover to `routes` fail: a broken tree, nginx not running."""

    def in_force(self, routes: tuple[Route, ...]) -> bool:
        """Whether running workers already serve exactly `routes`."""

    def switch(self, to: tuple[Route | Former, ...], ahead: Callable[[Cutover], None], *, force: bool) -> None:
        """Send new requests to `to`, proven; an error when it cannot be proven.

        `ahead` is told what nginx is before anything is changed, and again what is left of it when the change is proven.
        Without `force` nothing is done when running workers serve exactly that already; with it, no worker that was
        told something else accepts anybody afterwards.
        """

    def drain(
        self, cutover: Cutover, addresses: tuple[str, ...], seconds: float, waiting: Callable[[str], None]
    ) -> Drained:
        """Wait until no request can reach, or is in, `addresses` through the workers of `cutover`; at most `seconds`."""

    def install(self, routes: tuple[Route, ...], defined: Collection[str]) -> tuple[str, ...]:
        """Write the files of `routes`, and remove those of services not `defined` that nothing refers to; what changed."""

    def texts(self, routes: tuple[Route, ...]) -> dict[str, tuple[str, str | None]]:
        """The files as they should be, by name, each with the text in place."""

    def drop_in(self) -> dict[Path, tuple[str, str | None]]:
        """The file for nginx's main context as it should be, by path, with the text in place; empty without a place."""

    def served(self, service: str) -> frozenset[str]:
        """The addresses that the service's file sends requests to."""

    def known(self) -> frozenset[str]:
        """Every address that a file of Conductor's sends requests to."""

    def living(self, workers: Iterable[Worker]) -> frozenset[Worker]:
        """Those of `workers` that live."""
