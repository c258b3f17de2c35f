"""`conductor config schema`."""

import click

from conductor.output.streams import write_stdout


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of the definitions file."""
    from conductor.definitions.schema import schema
    from conductor.output.tables import as_document

    write_stdout(as_document(schema()))
