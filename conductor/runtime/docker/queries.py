"""The runtime of queries: it lists containers over Conductor's own HTTP client, because the import of the SDK takes 90 ms."""

import functools
from typing import Any

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.plan.release import Image
from conductor.plan.replica import Containers, ContainerUsage
from conductor.runtime.docker import kernel
from conductor.runtime.docker.attach import TaskRuntime


class QueryRuntime:
    """Implements the calls of `Runtime` that `service list` and `service status` make. `DockerRuntime`, which is imported on
    first use, implements the others."""

    def __init__(self, base_url: str, instance: str, clock: Clock, cancellation: Cancellation) -> None:
        self._arguments = (base_url, instance, clock, cancellation)
        self._is_local = base_url.startswith("unix://")
        self._clock = clock
        self._light = TaskRuntime(base_url, instance)

    def containers(self, service: str | None = None) -> Containers:
        """One list call, filtered by exact labels."""
        return self._light.containers(service)

    def image(self, reference: str) -> Image | None:
        """Only local images are searched."""
        return self._light.image(reference)

    def usage(self, container: str) -> ContainerUsage | None:
        """Read the container's cgroup, which is on the daemon's host."""
        return kernel.usage(container, self._clock.wall()) if self._is_local else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._full, name)

    @functools.cached_property
    def _full(self) -> Any:
        from conductor.runtime.docker.client import DockerRuntime

        return DockerRuntime(*self._arguments)
