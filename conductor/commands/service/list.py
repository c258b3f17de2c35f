"""`conductor service list`: one line per service."""

from pathlib import Path

import click

from conductor.commands.action import query_context
from conductor.commands.options import config_option, json_option, schema_option


@click.command("list")
@config_option
@json_option
@schema_option("conductor.snapshot.rows:ServiceList")
def command(*, config: Path, as_json: bool) -> None:
    """List all services, one line each."""
    from conductor.output.streams import write_stdout
    from conductor.output.tables import as_document, as_table
    from conductor.snapshot.rows import document, table
    from conductor.snapshot.services import service_rows

    rows = service_rows(*query_context(config, "service list"))
    if as_json:
        write_stdout(as_document(document(rows)))
        return
    write_stdout(as_table(table(rows)))
