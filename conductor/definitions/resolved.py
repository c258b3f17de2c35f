"""A definition as it acts, with every built-in default filled in, in JSON's types; it reads back as the same (pure)."""

from typing import Any

import msgspec

from conductor.definitions.model import Definition, Host
from conductor.definitions.rules import health_keys
from conductor.definitions.scalars import ByteSize, Seconds


def effective(definition: Definition) -> dict[str, Any]:
    """One service; secrets stay references."""
    shown: dict[str, Any] = _shown(definition.service)
    if definition.service.health:
        # The model fills in every kind's keys; the ones of other kinds would be refused in a file.
        keys = health_keys(definition.service.health)
        shown["health"] = {key: value for key, value in shown["health"].items() if key in keys}
    if definition.service.nginx:
        shown["nginx"]["upstream"] = definition.upstream
    return shown


def document(host: Host, definitions: list[Definition]) -> dict[str, Any]:
    """A whole definitions file that says everything."""
    services = {definition.id: effective(definition) for definition in definitions}
    return {"version": 1, "host": _shown(host), "services": services}


def _shown(value: Any) -> Any:
    if isinstance(value, Seconds | ByteSize):
        return value.text
    if isinstance(value, msgspec.Struct):
        pairs = ((name, getattr(value, name)) for name in value.__struct_fields__)
        return {name: _shown(inner) for name, inner in pairs if inner is not None}
    if isinstance(value, dict):
        return {name: _shown(inner) for name, inner in value.items()}
    return [_shown(inner) for inner in value] if isinstance(value, tuple) else value
