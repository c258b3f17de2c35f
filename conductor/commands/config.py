"""`conductor config`: check the definitions file, show what it comes to, print its schema and an annotated example."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.options import config_option
from conductor.output.streams import answer, remark

if TYPE_CHECKING:
    from conductor.definitions.load import Definitions
    from conductor.definitions.problems import Problem


@click.group()
def config() -> None:
    """Look at the definitions."""


@config.command()
@config_option
@click.option("--files", is_flag=True, help="Also read the secret and env files that it names.")
def check(config: Path, files: bool) -> None:
    """Say everything that is wrong with the definitions file.

    Changes nothing and needs no secrets, so it fits Chef's `verify`.
    """
    from conductor.definitions.load import load
    from conductor.definitions.problems import DefinitionsError

    definitions = load(config)
    problems = [*definitions.problems, *(_unreadable(definitions) if files else [])]
    for warning in _warnings(definitions):
        remark(f"warning: {config}: {warning}")
    if problems:
        raise DefinitionsError(str(config), problems)
    number = len(definitions.ids)
    answer(f"{config}: {number} service{'s' if number != 1 else ''}, no problems")


@config.command()
@config_option
@click.option("--id", "service_id", metavar="ID", help="Only this service.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(config: Path, service_id: str | None, as_json: bool) -> None:
    """Print the definitions as they act: defaults merged and built-in ones filled in, secrets as references."""
    from conductor.definitions.load import load
    from conductor.definitions.problems import DefinitionsError
    from conductor.definitions.resolved import document

    definitions = load(config)
    chosen = [definitions.service(service_id)] if service_id else list(definitions.services.values())
    answer(_rendered(document(definitions.host, chosen), as_json))
    if definitions.problems and not service_id:
        raise DefinitionsError(str(config), definitions.problems)


@config.command()
def schema() -> None:
    """Print the JSON Schema of the definitions file."""
    from conductor.definitions.schema import schema as json_schema

    answer(_rendered(json_schema(), as_json=True))


@config.command()
def example() -> None:
    """Print an annotated example that has every key."""
    from importlib.resources import files

    answer(files("conductor").joinpath("templates/services.example.yml").read_text("utf-8"), end="")


def _warnings(definitions: "Definitions") -> list[str]:
    from conductor.definitions.unsupported import unsupported

    used = [f"host.{key}" for key in unsupported(definitions.host)]
    used += [f"services.{one.id}.{key}" for one in definitions.services.values() for key in unsupported(one)]
    return [f"{key}: not supported by this version yet; `service upgrade` will refuse it" for key in used]


def _unreadable(definitions: "Definitions") -> list["Problem"]:
    from conductor.definitions.environment import environment
    from conductor.definitions.problems import DefinitionsError

    problems: list[Problem] = []
    for definition in definitions.services.values():
        try:
            environment(definition.service)
        except DefinitionsError as error:
            problems += [
                problem._replace(key=f"services.{definition.id}.{problem.key}") if problem.key else problem
                for problem in error.problems
            ]
    return problems


def _rendered(document: dict[str, object], as_json: bool) -> str:
    if as_json:
        import json

        return json.dumps(document, indent=2, ensure_ascii=False)
    import yaml

    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110).rstrip("\n")
