"""The JSON Schema of a definitions file, made from the model that validates it. Editors and generators can use it.

The schema accepts every file that `load` accepts. It has no required keys, and allows null, in services and
defaults, because the merge of `defaults` decides about both.
"""

from typing import Any

import msgspec

from conductor.definitions.model import File, Service
from conductor.definitions.scalars import DURATION, PERCENT, SIZE, ByteSize, Percent, Period, Seconds
from conductor.definitions.section import Section


def schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12)."""
    (root, service), components = msgspec.json.schema_components([File, Service], schema_hook=_scalar)
    for kind in Section.__subclasses__():
        section = components[kind.__name__]
        for field in msgspec.structs.fields(kind):
            if isinstance(default := _default(field), Seconds | ByteSize | Percent):
                section["properties"][field.encode_name]["default"] = default.text
        if kind is not File:
            section["required"] = []
            section["properties"] = {name: _or_null(inner) for name, inner in section["properties"].items()}
    for section, name in (("Server", "listen"), ("Server", "names"), ("Health", "status")):
        written = components[section]["properties"][name]["anyOf"]
        written[0]["items"]["type"] = ["string", "integer"]  # a number needs no quotes
        written.insert(1, written[0]["items"])  # one value may stand for a list of one
    properties = components["File"]["properties"]
    properties["services"]["additionalProperties"] = service
    for name, inner in {**properties, "defaults": service}.items():
        properties[name] = inner if name in {"version", "services"} else {"anyOf": [inner, {"type": "null"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": components}


def _scalar(kind: type) -> dict[str, Any]:
    if issubclass(kind, Seconds):
        minimum = {"exclusiveMinimum": 0} if issubclass(kind, Period) else {"minimum": 0}
        description = "a duration: 30s, 1500ms, 2m, 1h; a bare number is seconds"
        return {
            "type": ["string", "number"], "pattern": f"^\\s*{DURATION}\\s*$", **minimum, "description": description,
        }  # fmt: skip
    if issubclass(kind, Percent):
        description = "a percentage: 10%; a bare number is a percentage too"
        return {
            "type": ["string", "number"], "pattern": f"^\\s*{PERCENT}\\s*$", "minimum": 0, "maximum": 100,
            "description": description,
        }  # fmt: skip
    description = "a size: 512MiB, 1GiB; a bare number is bytes"
    return {"type": ["string", "number"], "pattern": f"^\\s*{SIZE}\\s*$", "minimum": 0, "description": description}


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else None


def _or_null(inner: dict[str, Any]) -> dict[str, Any]:
    """Allow null, which drops a default, also as the values of a mapping with free names."""
    if isinstance(values := inner.get("additionalProperties"), dict):
        inner = {**inner, "additionalProperties": _or_null(values)}
    return {"anyOf": [inner, {"type": "null"}]}
