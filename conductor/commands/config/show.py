"""`conductor config show`: the definitions with every default filled in."""

from pathlib import Path

import click

from conductor.commands.options import config_option, json_option, optional_id_option
from conductor.output.streams import write_stdout


@click.command("show")
@config_option
@optional_id_option
@json_option
def command(config: Path, service: str | None, as_json: bool) -> None:
    """Print the definitions with all defaults filled in.

    Secrets are shown as references to their files.
    """
    from conductor.definitions.load import load
    from conductor.definitions.problems import DefinitionsError
    from conductor.definitions.resolved import document

    definitions = load(config)
    chosen = [definitions.service(service)] if service else list(definitions.services.values())
    write_stdout(_rendered(document(definitions.host, chosen), as_json))
    if definitions.problems and not service:
        raise DefinitionsError(str(config), definitions.problems)


def _rendered(document: dict[str, object], as_json: bool) -> str:
    if as_json:
        from conductor.output.tables import as_document

        return as_document(document)
    import yaml

    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110).rstrip("\n")
