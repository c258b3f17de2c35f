"""`conductor gc`: remove what is no longer needed, or list it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import query_context, run_action
from conductor.commands.options import config_option, json_option
from conductor.commands.variables import CommandLineOnly

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished

VERSION = 1  # of the JSON document


@click.command("gc")
@config_option
@click.option("--plan", "plan_only", cls=CommandLineOnly, is_flag=True, help="Print what would be removed and exit.")
@json_option
def command(*, config: Path, plan_only: bool, as_json: bool) -> int:
    """Remove images, logs and other files that are no longer needed.

    Images that a rollback, a crontab or any container needs are kept, and so are images that were not
    pulled for a release.
    """
    if plan_only:
        _print_plan(query_context(config, "gc --plan")[1], as_json=as_json)
        return 0

    def action(_: "Definitions", context: "Context") -> "Finished":
        from conductor.change.garbage import collect
        from conductor.output.events import Finished, Notice, ServiceResult
        from conductor.output.printable import size_text
        from conductor.plan.garbage import Kind, summary

        began = context.clock.monotonic()
        done = collect(context, frozenset(Kind))
        for skipped in done.skipped:
            context.output.emit(Notice(text=f"skipped {skipped.name}: {skipped.reason}"))
        freed = sum(one.bytes for one in done.removed)
        services = sorted({one.service for one in done.removed if one.service})
        return Finished(
            text=f"removed {summary(done.removed)}" + (f", freeing up to {size_text(freed)}" if done.removed else ""),
            seconds=context.clock.monotonic() - began,
            warnings=done.warnings,
            services=tuple(ServiceResult(service=service, action="gc", changed=True) for service in services),
        )

    return run_action(config, "gc", action, as_json=as_json, yields=True)


def _print_plan(context: "Context", *, as_json: bool) -> None:
    from conductor.change.garbage import survey
    from conductor.output.printable import size_text
    from conductor.output.streams import write_stdout
    from conductor.output.tables import as_document, as_table

    found, least = survey(context), context.host.gc.free
    freed = sum(one.bytes for one in found.garbage)
    if as_json:
        document = {
            "version": VERSION, "garbage": found.garbage, "bytes_at_most": freed, "skipped": found.skipped,
            "disks": found.disks, "wanted_free": float(least),
        }  # fmt: skip
        write_stdout(as_document(document))
        return
    rows = [(one.kind, one.service or "-", one.name, size_text(one.bytes)) for one in found.garbage]
    if rows:
        write_stdout(as_table([("KIND", "SERVICE", "NAME", "FREES UP TO"), *rows]))
    write_stdout(f"gc would free up to {size_text(freed)}; images share layers, so it may free less")
    for skipped in found.skipped:
        write_stdout(f"gc would skip {skipped.name}: {skipped.reason}")
    for disk in found.disks:
        write_stdout(f"{disk.free:g}% of the disk that holds {disk.path} is free; host.gc.free is {least.text}")
