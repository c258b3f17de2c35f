"""The JSON Schemas of the documents of `service list` and `service status`, made from their types (pure)."""

from typing import Any

import msgspec


def schema(document: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a document. Every key of these types is always present, so each one is required.

    Keys that a later version adds are allowed, as scripts must accept them.
    """
    found = msgspec.json.schema(document)
    for part in found["$defs"].values():
        if "properties" in part:
            part["required"] = list(part["properties"])
            for value in part["properties"].values():
                value.pop("default", None)  # no key is ever left out
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
