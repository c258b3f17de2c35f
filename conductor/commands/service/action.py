"""Running one action on one service, or on several as one change; the options that all these commands have."""

import functools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from conductor.commands.action import run_action
from conductor.commands.options import config_option, json_option, plan_option, wait_option, without_edge_option
from conductor.output.verbosity import show_plan

if TYPE_CHECKING:
    from conductor.change.actions import MakeTransition
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


class ActionOptions(NamedTuple):
    """The options that all actions on services have."""

    config: Path
    plan_only: bool
    wait_seconds: float
    without_edges: tuple[str, ...]
    as_json: bool


def action_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that all actions have. They are its first argument."""

    @functools.wraps(command)
    def run(**given: Any) -> int:
        common = ActionOptions(**{name: given.pop(name) for name in ActionOptions._fields})
        return command(common, **given)

    for option in (json_option, without_edge_option, wait_option, plan_option, config_option):
        option(run)
    return run


def run_on_services(
    common: ActionOptions, command: str, services: Collection[str], make: "MakeTransition", options: str = ""
) -> int:
    """Carry out the transitions that `make` returns, even for services that are no longer defined.

    Locks and history name `service COMMAND --id ID` with `options` after the ids.
    """
    from conductor.change.actions import perform

    show_plan(common.plan_only)

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        for service in services:
            definitions.require_known(service, context.store.services())
        defined = {service: definitions.services.get(service) for service in services}
        return perform(context, defined, make, wait_seconds=common.wait_seconds, plan_only=common.plan_only)

    words = action_words(command, services, options)
    return run_action(common.config, words, action, as_json=common.as_json, without_edges=common.without_edges)


def action_words(command: str, services: Collection[str], options: str = "") -> str:
    """Return an action as it was written, for locks and the history."""
    return " ".join(filter(None, (f"service {command}", *(f"--id {one}" for one in services), options)))
