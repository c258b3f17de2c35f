"""Running one action on one service, or on several as one change."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from conductor.commands.action import run_action
from conductor.output.verbosity import show_plan

if TYPE_CHECKING:
    from conductor.change.actions import MakeTransition
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


def run_on_services(
    config: Path,
    command: str,
    services: Collection[str],
    make: "MakeTransition",
    *,
    options: str = "",
    wait_seconds: float,
    as_json: bool,
    plan_only: bool = False,
    without_edges: Collection[str] = (),
) -> int:
    """Carry out the transitions that `make` returns, even for services that are no longer defined.

    Locks and history name `service COMMAND --id ID` with `options` after the ids.
    """
    from conductor.change.actions import perform

    show_plan(plan_only)

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        for service in services:
            definitions.require_known(service, context.store.services())
        defined = {service: definitions.services.get(service) for service in services}
        return perform(context, defined, make, wait_seconds=wait_seconds, plan_only=plan_only)

    words = action_words(command, services, options)
    return run_action(config, words, action, as_json=as_json, without_edges=without_edges)


def action_words(command: str, services: Collection[str], options: str = "") -> str:
    """Return an action as it was written, for locks and the history."""
    return " ".join(filter(None, (f"service {command}", *(f"--id {one}" for one in services), options)))
