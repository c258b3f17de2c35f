"""The shared objects of a fleet as configs of Swarm's. The data of a config cannot change, but its labels can."""

import base64
import hashlib
import secrets
from typing import Any, Final

from conductor.plan import labels
from conductor.plan.lease import Values
from conductor.runtime.swarm.api import SwarmApi
from conductor.state.fleet.objects import StoredObject

NAME: Final = "conductor.object"
DATA: Final = base64.b64encode(b"see the labels").decode()  # it must not be empty
WRITE: Final = "conductor.write"  # the id of the write that it has its values from
VALUE: Final = "conductor.value."  # followed by the name of the value


class SwarmObjects:
    """Implements `Objects`."""

    def __init__(self, swarm: SwarmApi, instance: str) -> None:
        self._swarm = swarm
        self._instance = instance

    def read(self, name: str) -> StoredObject | None:
        """One request."""
        found = self._swarm.config(self._config(name))
        return _stored(found) if found else None

    def read_all(self) -> tuple[StoredObject, ...]:
        """One request."""
        found = [_stored(one) for one in self._swarm.configs({labels.INSTANCE: self._instance})]
        return tuple(sorted(found, key=lambda one: one.name))

    def create(self, name: str, values: Values) -> bool:
        """The response to a repeated request may be about the first one, so the object is read again."""
        write = secrets.token_hex(8)
        return self._swarm.create_config(self._spec(name, values, write)) or self._was_last(name, write)

    def write(self, found: StoredObject, values: Values) -> bool:
        """As `create`."""
        write = secrets.token_hex(8)
        spec = self._spec(found.name, values, write)
        return self._swarm.update_config(found.id, found.version, spec) or self._was_last(found.name, write)

    def _was_last(self, name: str, write: str) -> bool:
        found = self._swarm.config(self._config(name))
        return found is not None and found["Spec"]["Labels"].get(WRITE) == write

    def remove(self, name: str) -> None:
        """One request."""
        self._swarm.remove_config(self._config(name))

    def _spec(self, name: str, values: Values, write: str) -> dict[str, Any]:
        stored = {f"{VALUE}{one}": text for one, text in values.items()}
        label = {labels.INSTANCE: self._instance, NAME: name, WRITE: write, **stored}
        return {"Name": self._config(name), "Labels": label, "Data": DATA}

    def _config(self, name: str) -> str:
        """Swarm limits a name to 64 characters."""
        return f"conductor-{hashlib.sha256(f'{self._instance}/{name}'.encode()).hexdigest()[:32]}"


def _stored(found: dict[str, Any]) -> StoredObject:
    label = found["Spec"]["Labels"]
    values = {one.removeprefix(VALUE): text for one, text in label.items() if one.startswith(VALUE)}
    return StoredObject(label.get(NAME, ""), found["ID"], found["Version"]["Index"], values)
