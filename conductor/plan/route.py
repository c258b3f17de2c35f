"""What the traffic layer is given and gives back (pure)."""

from typing import Any

import msgspec

from conductor.definitions.model import Definition


class Route(msgspec.Struct, frozen=True):
    """One service as the traffic layer should see it. Without endpoints (`IP:PORT`) it answers 503.

    `template` is the text of its server template as the release has it; None: the file that the definition names.
    """

    definition: Definition
    endpoints: tuple[str, ...]
    template: str | None = None

    @property
    def service(self) -> str:
        """The id of the service."""
        return self.definition.id


class Cutover(msgspec.Struct, frozen=True, kw_only=True):
    """What an implementation of the traffic port needs to undo or drain a switch. `state` belongs to that implementation
    and is JSON: the journal stores it unread."""

    implementation: str
    state: dict[str, Any]
