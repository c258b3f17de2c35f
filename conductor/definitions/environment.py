"""The environment of a container: the definition's `env` over its `env_file`, with secret files read.

The door to those files. What they hold is secret and is shown nowhere, not even in an error.
"""

import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from conductor.definitions.model import SecretRef, Service
from conductor.definitions.problems import DefinitionsError, Problem
from conductor.definitions.redaction import redactor
from conductor.definitions.scalars import Secret
from conductor.errors import ConductorError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")  # as in the definitions
_SPACE = "\t\n\v\f\r \x85\xa0"  # what Docker takes off the left of a line


def environment(service: Service) -> dict[str, str | Secret]:
    """Every variable; all that comes from a file is `Secret`. `DefinitionsError` with all problems of all files."""
    values: dict[str, str | Secret] = {}
    problems: list[Problem] = []
    if service.env_file is not None:
        _collect(values, problems, service.env_file, "env_file", None)
    for name, value in service.env.items():
        if isinstance(value, SecretRef):
            _collect(values, problems, value.file, f"env.{name}", name)
        else:
            values[name] = value
    if problems:
        raise DefinitionsError("env and env_file", problems)
    return values


def redaction(service: Service) -> Callable[[str], str]:
    """What takes its secrets out of a text; where they cannot be read, nothing of the text is shown."""
    try:
        return redactor(environment(service).values())
    except ConductorError:
        return lambda text: text and "(not shown: its secrets cannot be read)"


def _collect(values: dict[str, str | Secret], problems: list[Problem], file: str, key: str, name: str | None) -> None:
    """Read one file: the secret of variable `name`, or without a name an env file."""
    try:
        text = _text(file)
    except OSError as error:
        problems.append(Problem(file, 0, key, f"cannot be read: {error.strerror}"))
        return
    except ValueError as error:
        problems.append(Problem(file, 0, key, str(error)))
        return
    if name is not None:
        values[name] = Secret(text.removesuffix("\n"))
        return
    for found in _env_file(file, text):
        if isinstance(found, Problem):
            problems.append(found)
        else:
            values[found[0]] = Secret(found[1])


def _env_file(file: str, text: str) -> Iterator[Problem | tuple[str, str]]:
    """Docker's `--env-file`: NAME=VALUE as it stands, no quotes, no expansion; lines end at newlines only."""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        stripped = line.removesuffix("\r").lstrip(_SPACE)
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        if not _NAME.fullmatch(name):
            yield Problem(file, number, "", "must start with a variable's name: write NAME=VALUE")
        elif not equals:
            # Docker would take it from the environment of whoever calls; here that is cron one day and a person the next.
            yield Problem(file, number, "", f"{name} has no value: write {name}=VALUE")
        else:
            yield name, value


def _text(file: str) -> str:
    """A regular file's text; `OSError`, or `ValueError` with what is wrong with it."""
    path = Path(file)
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise ValueError(f"must be a file, not a {'directory' if stat.S_ISDIR(mode) else 'device or pipe'}")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        raise ValueError("must be UTF-8 text") from None
    if "\0" in text:
        raise ValueError("must not contain a NUL")
    return text
