"""`conductor service status`: what is wanted and what runs, container by container."""

from pathlib import Path

import click

from conductor.commands.options import config_option, json_option, optional_id_option


@click.command("status")
@config_option
@optional_id_option
@json_option
def command(*, config: Path, service: str | None, as_json: bool) -> None:
    """Show services in full: release, containers with one health check each, who stopped or scaled it, a change under way."""
    from conductor.commands.context import open_context
    from conductor.output.printers import Silent
    from conductor.output.streams import answer
    from conductor.output.tables import as_document, as_table
    from conductor.snapshot.services import look

    definitions, context = open_context(config, "service status", Silent())
    rows = look(definitions, context, service)
    if as_json:
        answer(as_document(rows))
        return
    for row in rows:
        answer(f"{row.service}  {row.revision or '-'}  {row.running}/{row.count}  {row.summary}")
        for note in row.notes:
            answer(f"  {note}")
        if row.containers:
            answer(as_table([(f"  {c.name}", c.revision, c.address, c.state, c.health) for c in row.containers]))
