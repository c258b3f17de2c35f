"""`conductor cron list`: one line per installed job, and the end of its last output."""

from pathlib import Path

import click

from conductor.commands.action import query_context
from conductor.commands.options import config_option, json_option, optional_id_option

OUTPUT_LINES = 3  # of the last run, below each job


@click.command("list")
@config_option
@optional_id_option
@json_option
def command(*, config: Path, service: str | None, as_json: bool) -> None:
    """List the installed jobs with their last and next runs."""
    from conductor.output.streams import write_stdout
    from conductor.output.tables import as_document, as_table
    from conductor.snapshot.jobs import document, job_rows
    from conductor.times import duration_text, time_text

    rows = job_rows(*query_context(config, "cron list"), service)
    if as_json:
        write_stdout(as_document(document(rows)))
        return
    table = [("SERVICE", "SCHEDULE", "NEXT", "LAST START", "STATE", "TOOK", "CODE", "SKIPPED", "COMMAND")]
    for row in rows:
        seconds = "-" if row.seconds is None else duration_text(row.seconds)
        code = "-" if row.exit_code is None else str(row.exit_code)
        times = (row.next_run or "-", time_text(row.began) or "-")
        state = "image missing" if row.image_missing else row.state
        table.append((row.service, row.schedule, *times, state, seconds, code, str(row.skipped), row.command))
    head, *lines = as_table(table).split("\n")
    write_stdout(head)
    for row, line in zip(rows, lines, strict=True):
        write_stdout("\n".join([line, *(f"    {text}" for text in row.output.splitlines()[-OUTPUT_LINES:])]))
