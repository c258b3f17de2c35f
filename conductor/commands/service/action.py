"""Running one action on one service."""

from pathlib import Path
from typing import TYPE_CHECKING

from conductor.commands.action import run_action

if TYPE_CHECKING:
    from conductor.change.actions import MakeTransition
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


def run_on_service(
    config: Path, command: str, service: str, make: "MakeTransition", *, wait_seconds: float, as_json: bool
) -> int:
    """Carry out the transition that `make` returns, also for a service that is no longer defined."""
    from conductor.change.actions import perform

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        definitions.require_known(service, context.store.services())
        return perform(context, service, make, defined=definitions.services.get(service), wait_seconds=wait_seconds)

    return run_action(config, command, action, as_json=as_json)
