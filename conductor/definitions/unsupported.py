"""Keys that Conductor accepts in a definition but does not support yet. Supporting a key removes its line here."""

from collections.abc import Callable

from conductor.definitions.model import Definition, Host, Service
from conductor.errors import UsageError

_SERVICE_KEYS: dict[str, Callable[[Service], object]] = {
    "notify": lambda service: service.notify,
}
_HOST_KEYS: dict[str, Callable[[Host], object]] = {"nginx.cutover: live": lambda host: host.nginx.cutover == "live"}


def unsupported(wanted: Definition | Service | Host) -> tuple[str, ...]:
    """Return the unsupported key paths that a service or the host uses."""
    if isinstance(wanted, Host):
        return tuple(key for key, uses in _HOST_KEYS.items() if uses(wanted))
    service = wanted.service if isinstance(wanted, Definition) else wanted
    return tuple(key for key, uses in _SERVICE_KEYS.items() if uses(service))


def refuse_unsupported(host: Host, definition: Definition) -> None:
    """Raise `UsageError` if the host or the definition uses an unsupported key. Call it before starting containers."""
    keys = (*unsupported(host), *unsupported(definition))
    if keys:
        raise UsageError(
            f"cannot use the definition of {definition.id}: this version does not support {', '.join(keys)}",
            "remove these keys from the definitions file",
        )
