"""Keys that are read and judged already, but whose feature comes later: one line each, deleted when it is there."""

from collections.abc import Callable

from conductor.definitions.model import Definition, Host, Service
from conductor.errors import UsageError

_OF_SERVICES: dict[str, Callable[[Service], object]] = {
    "notify": lambda service: service.notify,
}
_OF_HOSTS: dict[str, Callable[[Host], object]] = {"nginx.cutover: live": lambda host: host.nginx.cutover == "live"}


def unsupported(wanted: Definition | Service | Host) -> tuple[str, ...]:
    """The key paths in use, inside the service or the host, that this version does not act on yet."""
    if isinstance(wanted, Host):
        return tuple(key for key, used in _OF_HOSTS.items() if used(wanted))
    service = wanted.service if isinstance(wanted, Definition) else wanted
    return tuple(key for key, used in _OF_SERVICES.items() if used(service))


def refuse_unsupported(host: Host, definition: Definition) -> None:
    """A key whose feature this version lacks is refused, never ignored, by whatever starts containers of a definition."""
    keys = (*unsupported(host), *unsupported(definition))
    if keys:
        raise UsageError(
            f"cannot use the definition of {definition.id}: not supported by this version yet: {', '.join(keys)}",
            "remove these keys for now",
        )
