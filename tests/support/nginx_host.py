"""A private nginx with Conductor's traffic layer, and without containers."""

from pathlib import Path

import msgspec

from conductor.cancellation import Cancellation, SignalCancellation
from conductor.clock import Clock
from conductor.commands.context import make_traffic
from conductor.definitions.host import Host, HostNginx
from conductor.definitions.scalars import Seconds
from conductor.state.locks import Locks
from conductor.traffic.port import Traffic
from tests.support.claims import Claims
from tests.support.nginx import PrivateNginx


class NginxHost:
    """A private nginx, and a traffic layer of each process that changes it."""

    def __init__(self, directory: Path, claims: Claims, cutover: str) -> None:
        self.nginx = PrivateNginx(directory / "nginx", claims)
        if cutover == "live":
            self.nginx.load_lua()
        self.host = Host(
            state_dir=str(directory / "state"),
            runtime_dir=str(directory / "run"),
            nginx=HostNginx(
                include_dir=str(self.nginx.include_dir),
                config=str(self.nginx.config),
                binary=self.nginx.binary,
                announce=Seconds(0.1),
                cutover=cutover,
            ),
        )

    def traffic(self, cancellation: Cancellation | None = None) -> Traffic:
        """Return the traffic layer as another process sees it."""
        clock, cancellation = Clock(), cancellation or SignalCancellation()
        locks = Locks(Path(self.host.runtime_dir) / "locks", "test", clock, cancellation)
        return make_traffic(self.host, locks, clock, cancellation)

    def move(self, cutover: str) -> Traffic:
        """Return the traffic layer after the operator has chosen the other way."""
        nginx = msgspec.structs.replace(self.host.nginx, cutover=cutover)
        self.host = msgspec.structs.replace(self.host, nginx=nginx)
        return self.traffic()
