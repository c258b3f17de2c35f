"""`conductor config check`: all problems of the definitions file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.options import config_option
from conductor.output.streams import write_stderr, write_stdout

if TYPE_CHECKING:
    from conductor.definitions.load import Definitions
    from conductor.definitions.problems import Problem


@click.command("check")
@config_option
@click.option("--files", is_flag=True, help="Also read the secret files and env files that the definitions name.")
def command(config: Path, files: bool) -> None:
    """Report all problems of the definitions file.

    This command changes nothing. It reads secret files only with --files.
    """
    from conductor.definitions.load import load
    from conductor.definitions.problems import DefinitionsError

    definitions = load(config)
    problems = [*definitions.problems, *(_unreadable(definitions) if files else [])]
    for warning in [*_unsupported(config, definitions), *(_file_warnings(definitions) if files else [])]:
        write_stderr(f"warning: {warning}")
    if problems:
        raise DefinitionsError(str(config), problems)
    count = len(definitions.ids)
    write_stdout(f"{config}: {count} service{'s' * (count != 1)}, no problems")


def _unsupported(config: Path, definitions: "Definitions") -> list[str]:
    from conductor.definitions.unsupported import unsupported

    used = [f"host.{key}" for key in unsupported(definitions.host)]
    used += [f"services.{one.id}.{key}" for one in definitions.services.values() for key in unsupported(one)]
    return [f"{config}: {key}: this version does not support it; service upgrade will refuse it" for key in used]


def _file_warnings(definitions: "Definitions") -> list[str]:
    from conductor.definitions.environment import file_warnings

    return [
        str(_in_service(problem, one.id))
        for one in definitions.services.values()
        for problem in file_warnings(one.service)
    ]


def _in_service(problem: "Problem", service: str) -> "Problem":
    return problem._replace(key=f"services.{service}.{problem.key}") if problem.key else problem


def _unreadable(definitions: "Definitions") -> list["Problem"]:
    from conductor.definitions.environment import environment
    from conductor.definitions.problems import DefinitionsError

    problems: list[Problem] = []
    for definition in definitions.services.values():
        try:
            environment(definition.service)
        except DefinitionsError as error:
            problems += [_in_service(problem, definition.id) for problem in error.problems]
    return problems
