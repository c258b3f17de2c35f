"""`conductor service list`: one line a service."""

from pathlib import Path

import click

from conductor.commands.options import config_option, json_option


@click.command("list")
@config_option
@json_option
def command(*, config: Path, as_json: bool) -> None:
    """Show every service: what is wanted, what runs, and whether it is healthy now."""
    from conductor.commands.opening import open_doors
    from conductor.report.output import answer
    from conductor.report.printers import Silent
    from conductor.report.tables import as_document, as_table
    from conductor.status import look

    definitions, doors = open_doors(config, "service list", Silent())
    rows = look(definitions, doors)
    if as_json:
        answer(as_document(rows))
        return
    table = [("SERVICE", "REVISION", "RUNNING", "STATE")]
    table += [(row.service, row.revision or "-", f"{row.running}/{row.count}", row.summary) for row in rows]
    answer(as_table(table))
