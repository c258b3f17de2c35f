"""`conductor cron list`: the jobs installed on this host, when they run next, and how they ran last."""

from pathlib import Path

import click

from conductor.commands.options import config_option, json_option, optional_id_option

SHOWN_LINES = 3  # of the last output, under each job


@click.command("list")
@config_option
@optional_id_option
@json_option
def command(*, config: Path, service: str | None, as_json: bool) -> None:
    """Show every job: schedule, next run, last start, how long it took, its exit code, runs left out, last output."""
    from conductor.commands.context import open_context
    from conductor.output.printers import Silent
    from conductor.output.streams import answer
    from conductor.output.tables import as_document, as_table
    from conductor.snapshot.jobs import look

    definitions, context = open_context(config, "cron list", Silent())
    rows = look(definitions, context, service)
    if as_json:
        answer(as_document(rows))
        return
    table = [("SERVICE", "SCHEDULE", "NEXT", "LAST START", "STATE", "TOOK", "CODE", "SKIPPED", "COMMAND")]
    for row in rows:
        took = "-" if row.seconds is None else f"{row.seconds:.1f}s"
        code = "-" if row.exit_code is None else str(row.exit_code)
        table.append(
            (row.service, row.schedule, row.next_run or "-", row.began or "-", row.state, took, code, str(row.skipped), row.command)
        )  # fmt: skip
    head, *lines = as_table(table).split("\n")
    answer(head)
    for row, line in zip(rows, lines, strict=True):
        answer("\n".join([line, *(f"    {said}" for said in row.output.splitlines()[-SHOWN_LINES:])]))
