"""`conductor supervise`: the loop that systemd keeps running; and pause, resume and status, which people type."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import act
from conductor.commands.options import config_option, duration, id_option, json_option

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished

_WAIT = click.option(
    "--wait", "wait_seconds", callback=duration, default="10s", metavar="D", help="For a busy service."
)


@click.group("supervise", invoke_without_command=True)
@config_option
@click.option(
    "--once", is_flag=True, help="One look, with the health of each container, what it asks for, and the end."
)
@click.option("--print-unit", is_flag=True, help="Print a unit file for systemd, and stop.")
@click.pass_context
def group(context: click.Context, *, config: Path, once: bool, print_unit: bool) -> int:
    """Keep the right number of healthy containers of every service, for ever."""
    context.ensure_object(dict)["config"] = config
    if context.invoked_subcommand is not None:
        return 0
    if print_unit:
        from importlib.resources import files

        from conductor.output.streams import answer

        answer(files("conductor").joinpath("templates/conductor-supervise.service").read_text(), end="")
        return 0
    from conductor.supervise.main import supervise

    return supervise(config, once=once)


@group.command("pause")
@config_option
@id_option
@click.option("--reason", required=True, help="Shown in status.")
@click.option("--for", "seconds", callback=duration, metavar="D", help="Until it is over; without it until resume.")
@_WAIT
@json_option
def pause(*, config: Path, service: str, reason: str, seconds: float | None, wait_seconds: float, as_json: bool) -> int:
    """Leave a service alone: nothing of it is started, stopped or mended until resume."""

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        from conductor.change.pause import pause

        if service not in context.store.services():
            definitions.service(service)  # says that there is no such service, and which is nearest
        return pause(context, service, reason, seconds, wait_seconds)

    return act(config, f"supervise pause --id {service}", action, as_json=as_json)


@group.command("resume")
@config_option
@id_option
@_WAIT
@json_option
def resume(*, config: Path, service: str, wait_seconds: float, as_json: bool) -> int:
    """Look after a paused service again."""

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        from conductor.change.pause import resume

        if service not in context.store.services():
            definitions.service(service)
        return resume(context, service, wait_seconds)

    return act(config, f"supervise resume --id {service}", action, as_json=as_json)


@group.command("status")
@config_option
@json_option
def status(*, config: Path, as_json: bool) -> int:
    """Whether it runs, what it waits for, and which services it will act on next."""
    from conductor.definitions.load import load
    from conductor.output.streams import answer
    from conductor.output.tables import as_document
    from conductor.state.supervisor_status import read_notes

    notes = read_notes(load(config).host.runtime_dir)
    if as_json:
        answer(as_document(notes))
    elif notes is None:
        answer("supervise does not run: nothing is started again by itself (systemctl start conductor-supervise)")
    else:
        answer(f"process {notes.pid} since {notes.since}: {notes.text}")
        for problem in filter(None, [notes.problem]):
            answer(f"  {problem}")
        for service, note in notes.services.items():
            answer(f"  {service}: {note}")
    return 0 if notes else 1
