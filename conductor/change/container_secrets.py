"""The secrets of one container: the current ones of its definition, and those it was started with."""

from collections.abc import Callable

from conductor.definitions.environment import environment, secrets
from conductor.definitions.model import Service
from conductor.definitions.redaction import redactor
from conductor.definitions.scalars import Secret
from conductor.runtime.port import Runtime


def redactor_of(runtime: Runtime, container: str, service: Service) -> Callable[[str], str]:
    """Return a function that removes the container's secrets from a text. Raise if the secrets cannot be read."""
    names = [name for name, value in environment(service).items() if isinstance(value, Secret)]
    given = runtime.environment(container) if names else {}
    return redactor([*secrets(service), *(Secret(given[name]) for name in names if name in given)])
