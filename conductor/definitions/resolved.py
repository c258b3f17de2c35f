"""Definitions with all built-in defaults filled in, as JSON's types. `load` reads them as the same values (pure)."""

from typing import Any

import msgspec

from conductor.definitions.host import Host
from conductor.definitions.model import Definition
from conductor.definitions.rules import health_keys
from conductor.definitions.scalars import ByteSize, Percent, Seconds


def resolved(definition: Definition) -> dict[str, Any]:
    """Return one service; secrets remain references."""
    service: dict[str, Any] = _plain(definition.service)
    if definition.service.health:
        # The model has the keys of every kind of check; a file may only have those of its own kind.
        keys = health_keys(definition.service.health)
        service["health"] = {key: value for key, value in service["health"].items() if key in keys}
    if definition.service.nginx:
        service["nginx"]["upstream"] = definition.upstream
    return service


def document(host: Host, definitions: list[Definition]) -> dict[str, Any]:
    """Return a whole definitions file in which every key is written."""
    services = {definition.id: resolved(definition) for definition in definitions}
    return {"version": 1, "host": _plain(host), "services": services}


def _plain(value: Any) -> Any:
    if isinstance(value, Seconds | ByteSize | Percent):
        return value.text
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        pairs = ((encoded, getattr(value, name)) for encoded, name in names)
        return {name: _plain(inner) for name, inner in pairs if inner is not None}
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value
