"""`conductor service rollback | start | stop | restart | scale`: small verbs on one service, one way of running them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import act
from conductor.commands.options import config_option, id_option, json_option, wait_option
from conductor.errors import UsageError

if TYPE_CHECKING:
    from conductor.change.actions import Verb
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


@click.command("rollback")
@config_option
@id_option
@click.option("--to", "revision", help="A kept revision; without it the release before the live one.")
@wait_option
@json_option
def rollback(*, config: Path, service: str, revision: str | None, wait_seconds: float, as_json: bool) -> int:
    """Go back to a release that ran before, with its own definition and image; needs no registry."""
    from conductor.change import actions

    words = f"rollback --id {service}" + (f" --to {revision}" if revision else "")
    return _perform(config, words, service, actions.rollback(revision), wait_seconds=wait_seconds, as_json=as_json)


@click.command("restart")
@config_option
@id_option
@wait_option
@json_option
def restart(*, config: Path, service: str, wait_seconds: float, as_json: bool) -> int:
    """Replace all containers by new ones of the live revision, with the definition as it is now."""
    from conductor.change import actions
    from conductor.definitions.unsupported import refuse_unsupported

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        definition = definitions.service(service)
        refuse_unsupported(definitions.host, definition)
        verb = actions.restart(definition)
        return actions.perform(
            context, service, verb, defined=definitions.services.get(service), wait_seconds=wait_seconds
        )

    return act(config, f"service restart --id {service}", action, as_json=as_json)


@click.command("start")
@config_option
@id_option
@wait_option
@json_option
def start(*, config: Path, service: str, wait_seconds: float, as_json: bool) -> int:
    """Start a stopped service, or what is missing of a running one."""
    from conductor.change import actions

    return _perform(config, f"start --id {service}", service, actions.start, wait_seconds=wait_seconds, as_json=as_json)


@click.command("stop")
@config_option
@id_option
@click.option("--reason", default="", help="Shown in status, and to whoever tries to upgrade.")
@wait_option
@json_option
def stop(*, config: Path, service: str, reason: str, wait_seconds: float, as_json: bool) -> int:
    """Drain and stop a service for good; nginx answers 503 for it."""
    from conductor.change import actions

    verb = actions.stop(reason)
    return _perform(config, f"stop --id {service}", service, verb, wait_seconds=wait_seconds, as_json=as_json)


@click.command("scale")
@config_option
@id_option
@click.option("--count", type=click.IntRange(0, 1000), help="So many containers, whatever the definitions say.")
@click.option("--reset", is_flag=True, help="As many as the definitions say again.")
@wait_option
@json_option
def scale(*, config: Path, service: str, count: int | None, reset: bool, wait_seconds: float, as_json: bool) -> int:
    """Run more or fewer containers of the live release."""
    from conductor.change import actions

    if (count is None) != reset:
        raise UsageError("cannot scale: write either --count N or --reset")
    words = f"scale --id {service} " + ("--reset" if reset else f"--count {count}")
    return _perform(config, words, service, actions.scale(count), wait_seconds=wait_seconds, as_json=as_json)


def _perform(config: Path, words: str, service: str, verb: "Verb", *, wait_seconds: float, as_json: bool) -> int:
    from conductor.change.actions import perform

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        if service not in context.store.services():
            definitions.service(service)  # says that there is no such service, and which is nearest
        return perform(context, service, verb, defined=definitions.services.get(service), wait_seconds=wait_seconds)

    return act(config, f"service {words}", action, as_json=as_json)
