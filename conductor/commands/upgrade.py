"""`conductor service upgrade`."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.options import config_option, duration, ids_option, json_option
from conductor.errors import ConductorError, Interrupted, UsageError

if TYPE_CHECKING:
    from conductor.definitions.load import Definitions
    from conductor.definitions.model import Definition


@click.command("upgrade")
@config_option
@ids_option
@click.option("--revision", required=True, help="The git revision, which is the image's tag.")
@click.option("--plan", "plan_only", is_flag=True, help="Print the steps and stop.")
@click.option("--force", is_flag=True, help="Also when this revision runs and is healthy.")
@click.option("--start", is_flag=True, help="Also when the service was stopped: it is started with this release.")
@click.option("--wait", "wait_seconds", callback=duration, default="0", metavar="D", help="Wait for a busy service.")
@json_option
def command(
    *,
    config: Path,
    ids: tuple[str, ...],
    revision: str,
    plan_only: bool,
    force: bool,
    start: bool,
    wait_seconds: float,
    as_json: bool,
) -> int:
    """Move a service to another revision without dropping a request."""
    from conductor.change.upgrade import Options, upgrade
    from conductor.commands.opening import open_doors
    from conductor.definitions.model import REVISION
    from conductor.report.events import Failed, Told
    from conductor.report.printers import make_printer

    if not re.fullmatch(REVISION, revision):
        raise UsageError(
            f"cannot use revision {revision!r}: it is no image tag", "write letters, digits, _ . - (128 at most)"
        )
    report = make_printer(json=as_json, stdout=sys.stdout, stderr=sys.stderr)
    try:
        definitions, doors = open_doors(
            config, f"service upgrade {' '.join(f'--id {i}' for i in ids)} --revision {revision}", report
        )
        wanted = [definitions.service(i) for i in dict.fromkeys(ids)]
        for definition in wanted:
            _refuse_unsupported(definitions, definition)
        doors.clock.listen()
        doors.clock.on_late_signal = lambda: report.emit(Told("already switched, finishing"))
        options = Options(plan_only=plan_only, force=force, start=start, wait_seconds=wait_seconds)
        finished = upgrade(doors, wanted, revision, options)
    except ConductorError as error:
        code = error.code if isinstance(error, Interrupted) else error.exit_code
        report.emit(Failed(error.sentence, error.details, error.hint, code))
        return code
    report.emit(finished)
    return finished.exit_code


def _refuse_unsupported(definitions: "Definitions", definition: "Definition") -> None:
    """A key whose feature this version lacks is refused, never ignored."""
    from conductor.definitions.later import unsupported

    keys = (*unsupported(definitions.host), *unsupported(definition))
    if keys:
        raise UsageError(
            f"cannot upgrade {definition.id}: not supported by this version yet: {', '.join(keys)}",
            "remove these keys for now",
        )
