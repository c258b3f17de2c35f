"""`conductor service history`: show past actions on services, one line each."""

from pathlib import Path

import click

from conductor.commands.action import query_context
from conductor.commands.options import WholeNumber, config_option, json_option, optional_id_option, since_option


@click.command("history")
@config_option
@optional_id_option
@since_option
@click.option(
    "--tail", type=WholeNumber(min=1), metavar="N",
    help="Show only the last N of the actions selected by --id and --since.",
)  # fmt: skip
@json_option
def command(*, config: Path, service: str | None, since: str, tail: int | None, as_json: bool) -> None:
    """Show past actions on services, oldest first.

    Each line shows the time, user, revisions, outcome and duration. The last column shows why a change failed, and
    otherwise its slowest steps. --json includes all steps.
    """
    from conductor.output.streams import write_stdout
    from conductor.output.tables import as_document, as_table
    from conductor.snapshot.actions import document, past_actions, row
    from conductor.state.history import History

    definitions, context = query_context(config, "service history")
    found = list(History(context.store.directory).entries())
    if service is not None:
        definitions.require_known(service, {one.service for one in found})
    entries = past_actions(found, service, since, tail)
    if as_json:
        write_stdout(as_document(document(entries)))
        return
    table = [("TIME", "SERVICE", "WHO", "ACTION", "REVISION", "OUTCOME", "TOOK", "DETAILS")]
    write_stdout(as_table(table + [row(entry) for entry in entries]))
