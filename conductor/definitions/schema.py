"""The JSON Schema of a definitions file, from the model that validates it; for editors and for whoever renders files.

It refuses nothing that `load` accepts. What the merge of `defaults` decides (required keys, null) it leaves open.
"""

from typing import Any

import msgspec

from conductor.definitions.model import File, Service, Shape
from conductor.definitions.scalars import DURATION, SIZE, ByteSize, Period, Seconds


def schema() -> dict[str, Any]:
    """Draft 2020-12."""
    (root, service), shapes = msgspec.json.schema_components([File, Service], schema_hook=_leaf)
    for kind in Shape.__subclasses__():
        shape = shapes[kind.__name__]
        for field in msgspec.structs.fields(kind):
            if isinstance(default := _default(field), Seconds | ByteSize):
                shape["properties"][field.name]["default"] = default.text
        if kind is not File:
            shape["required"] = []
            shape["properties"] = {name: _or_null(inner) for name, inner in shape["properties"].items()}
    properties = shapes["File"]["properties"]
    properties["services"]["additionalProperties"] = service
    for name, inner in {**properties, "defaults": service}.items():
        properties[name] = inner if name == "version" else {"anyOf": [inner, {"type": "null"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": shapes}


def _leaf(kind: type) -> dict[str, Any]:
    if issubclass(kind, Seconds):
        least = {"exclusiveMinimum": 0} if issubclass(kind, Period) else {"minimum": 0}
        words = "a duration: 30s, 1500ms, 2m, 1h; a bare number is seconds"
        return {"type": ["string", "number"], "pattern": f"^\\s*{DURATION}\\s*$", **least, "description": words}
    words = "a size: 512MiB, 1GiB; a bare number is bytes"
    return {"type": ["string", "number"], "pattern": f"^\\s*{SIZE}\\s*$", "minimum": 0, "description": words}


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else None


def _or_null(inner: dict[str, Any]) -> dict[str, Any]:
    """Null drops what `defaults` says, in mappings of free names as well."""
    if isinstance(values := inner.get("additionalProperties"), dict):
        inner = {**inner, "additionalProperties": _or_null(values)}
    return {"anyOf": [inner, {"type": "null"}]}
