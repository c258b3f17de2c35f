"""The JSON Schemas of the documents of `service list` and `service status`, made from their types (pure)."""

from typing import Any

import msgspec

FLEET_ONLY = {"edges"}


def schema(document: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a document. Every key of these types is always present but for `FLEET_ONLY`, so each one is required.

    Keys that a later version adds are allowed, as scripts must accept them.
    """
    found = msgspec.json.schema(document)
    for part in found["$defs"].values():
        if "properties" in part:
            part["required"] = [name for name in part["properties"] if name not in FLEET_ONLY]
            for value in part["properties"].values():
                value.pop("default", None)  # no key is ever left out
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
