"""`conductor service status`: one paragraph per service, with its replicas."""

from pathlib import Path

import click

from conductor.commands.action import query_context
from conductor.commands.options import config_option, json_option, optional_id_option


@click.command("status")
@config_option
@optional_id_option
@json_option
def command(*, config: Path, service: str | None, as_json: bool) -> None:
    """Show services with their replicas and health.

    Conductor checks the health of each running replica once. The notes below a service explain how it differs from its
    definition.
    """
    from conductor.output.streams import write_stdout
    from conductor.output.tables import as_document, as_table
    from conductor.snapshot.services import document, service_rows

    rows = service_rows(*query_context(config, "service status"), service)
    if as_json:
        write_stdout(as_document(document(rows)))
        return
    for row in rows:
        write_stdout(f"{row.service}  {row.revision or '-'}  {row.running}/{row.wanted}  {row.describe()}")
        for note in row.notes:
            write_stdout(f"  {note.describe()}")
        if row.replicas:
            write_stdout(
                as_table([(f"  {r.name}", r.revision, r.endpoint or "-", r.state, r.describe()) for r in row.replicas])
            )
