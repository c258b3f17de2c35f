"""What checks read: the definitions, the context, and facts of the host that no port has."""

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from conductor.change.context import Context
from conductor.definitions.load import Definitions
from conductor.errors import ConductorError
from conductor.plan.node import Node
from conductor.plan.transition import was_routed
from conductor.snapshot.rows import ServiceRow
from conductor.snapshot.services import service_rows
from conductor.systemctl import Unit


class Room(NamedTuple):
    """The size of a file system in bytes, as `shutil.disk_usage` returns it."""

    total: int
    used: int
    free: int


@dataclass(frozen=True, kw_only=True)
class Examination:
    """One host. `unusable` is why nothing of the definitions file can be used; the host section is then that of the last
    valid file.

    `unit` returns a unit of systemd (None without systemd). `room` returns the space on the file system of a path; None if the
    path cannot be read, for example because Docker runs in a virtual machine. `nodes` returns those of a fleet.
    """

    definitions: Definitions
    context: Context
    unit: Callable[[str], Unit | None]
    is_root: bool
    is_cron_running: Callable[[], bool]
    room: Callable[[str], Room | None]
    unusable: ConductorError | None = None
    nodes: Callable[[], Sequence[Node]] = tuple
    _rows_lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def services(self) -> tuple[str, ...]:
        """The defined services, and others that have a state or a change in progress."""
        store = self.context.store
        return tuple(dict.fromkeys((*self.definitions.ids, *store.services(), *store.in_progress())))

    def rows(self) -> list[ServiceRow]:
        """Return the rows of `service status`, computed once."""
        with self._rows_lock:
            return self._rows

    @functools.cached_property
    def _rows(self) -> list[ServiceRow]:
        return service_rows(self.definitions, self.context)

    @functools.cached_property
    def has_traffic(self) -> bool:
        """True when a service is routed, or will be."""
        return self.is_routed or any(one.service.nginx for one in self.definitions.services.values())

    @functools.cached_property
    def is_routed(self) -> bool:
        """True when a live release is behind the traffic layer."""
        return any(was_routed(self.context.store.wanted(service)) for service in self.readable)

    @functools.cached_property
    def readable(self) -> tuple[str, ...]:
        """The services whose wanted state can be read."""
        return tuple(service for service in self.services if self._is_readable(service))

    def _is_readable(self, service: str) -> bool:
        try:
            self.context.store.wanted(service)
        except ConductorError:
            return False
        return True
