"""`conductor service restart`."""

from typing import TYPE_CHECKING

import click

from conductor.commands.action import run_action
from conductor.commands.options import ids_option
from conductor.commands.service.action import ActionOptions, action_options, action_words
from conductor.commands.variables import CommandLineOnly
from conductor.output.verbosity import show_plan

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


@click.command("restart")
@ids_option
@click.option(
    "--node-is-gone", "nodes_gone", metavar="NODE", multiple=True, cls=CommandLineOnly,
    help="In a fleet, move a service with order: stop-first off a node that is down. First make sure that nothing is still running on that node.",
)  # fmt: skip
@action_options
def command(common: ActionOptions, *, ids: tuple[str, ...], nodes_gone: tuple[str, ...]) -> int:
    """Replace all replicas, using the current definition.

    The revision stays the same. The steps are the same as for an upgrade, without hooks.
    """
    from conductor.change.actions import perform, restart

    show_plan(common.plan_only)

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        defined = {service: definitions.service(service) for service in ids}
        return perform(context, defined, restart, wait_seconds=common.wait_seconds, plan_only=common.plan_only)

    return run_action(
        common.config,
        action_words("restart", ids),
        action,
        as_json=common.as_json,
        without_edges=common.without_edges,
        nodes_gone=nodes_gone,
    )
