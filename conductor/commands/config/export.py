"""`conductor config export`: the definitions in another tool's format."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.options import config_option, export_id_option, revision_option
from conductor.commands.variables import CommandLineOnly
from conductor.output.streams import write_notice, write_stdout

if TYPE_CHECKING:
    from conductor.definitions.model import Definition
    from conductor.export.export import Source
    from conductor.state.store import Store

TOOLS = ("compose", "kubernetes", "quadlet")


@click.command("export")
@config_option
@click.option("--to", "tool", type=click.Choice(TOOLS), required=True, cls=CommandLineOnly, help="The format.")
@export_id_option
@revision_option
@click.option(
    "--output", cls=CommandLineOnly, metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
    help="Write the files into this new or empty directory instead of stdout.",
)  # fmt: skip
def command(*, config: Path, tool: str, service: str | None, revision: str | None, output: Path | None) -> None:
    """Print the definitions in another tool's format.

    The output is a Compose file, Kubernetes manifests or Quadlet units. Settings that cannot be exported, or that
    behave differently there, are listed on stderr and at the top of each file. Secrets are references, never values.
    """
    from importlib import import_module

    from conductor.definitions.load import load
    from conductor.definitions.problems import DefinitionsError
    from conductor.state.store import Store

    definitions = load(config)
    chosen = [definitions.service(service)] if service else list(definitions.services.values())
    if definitions.problems and not service:
        raise DefinitionsError(str(config), definitions.problems)
    store = Store(Path(definitions.host.state_dir))
    exported = import_module(f"conductor.export.{tool}").export([_source(one, revision, store) for one in chosen])
    if output is not None:
        _write(output, exported.files)
    else:
        named = [f"# {name}\n{text}" if len(exported.files) > 1 else text for name, text in exported.files.items()]
        write_stdout("\n".join(named), end="")
    for note in exported.notes:
        write_notice(f"check before use: {note}")


def _source(definition: "Definition", revision: str | None, store: "Store") -> "Source":
    from conductor.export.export import Source

    release = store.wanted(definition.id).release
    live = release.revision if release else ""
    return Source(definition.id, definition.service, revision or live, release.crontab if release else "")


def _write(directory: Path, files: dict[str, str]) -> None:
    from conductor.errors import UsageError
    from conductor.state.files import make_directory, write_bytes

    make_directory(directory)
    if any(directory.iterdir()):
        raise UsageError(f"cannot write to {directory}: it is not empty", "use a new directory")
    for name, text in files.items():
        write_bytes(directory / name, text.encode(), 0o644)
