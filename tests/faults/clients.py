"""The clients of a campaign, which send requests to the web service all the time."""

from dataclasses import dataclass, field

from tests.support.host import TestHost
from tests.support.load import Load

# By path. The slow requests last longer than a stopped container. They also last longer than the announce of a reload, which
# cannot reach them, so their clients do not use a connection again.
CLIENTS = {"": 8, "slow?s=1.2": 2}
THINK_SECONDS = 0.02  # between the requests of a client: what is left of the machine is for several campaigns


@dataclass
class ClientsOf:
    """The clients of a host (None: there are none), which can be ended and begun again. `losses` describes the lost requests."""

    host: TestHost | None
    requests: int = 0
    lost: int = 0
    losses: list[str] = field(default_factory=list)
    _loads: list[Load] = field(default_factory=list)

    def begin(self) -> None:
        """Send requests, if none are sent yet."""
        if self.host is not None and not self._loads:
            for path, clients in CLIENTS.items():
                headers = {"Connection": "close"} if path else {}
                load = self.host.load(
                    path=f"/{path}", busy=0, idle=clients, idle_seconds=THINK_SECONDS, headers=headers
                )
                self._loads.append(load)
                load.__enter__()

    def end(self, what: str) -> None:
        """Wait for the requests under way, and count all. `what` describes the time since the last call."""
        while self._loads:
            result = self._loads.pop().stop()
            self.requests += result.total
            self.lost += result.lost
            self.losses += [f"{result.lost} requests lost: {what}: {result.told}"] if result.lost else []

    def count(self, what: str) -> None:
        """Count the requests that were lost since the last call."""
        if any(load.so_far()["lost"] for load in self._loads):
            self.end(what)
            self.begin()
