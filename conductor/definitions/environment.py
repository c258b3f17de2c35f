"""Read the environment of a container: `env` over `env_file`, with the contents of secret files.

Only this module reads these files. Their contents are secret and never appear in a message.
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

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")  # the same names as `env` accepts
_SPACE = "\t\n\v\f\r \x85\xa0"  # what Docker removes from the start of a line


def environment(service: Service) -> dict[str, str | Secret]:
    """Return all variables; values from files are `Secret`. Raise `DefinitionsError` with the problems of all files."""
    values: dict[str, str | Secret] = {}
    problems: list[Problem] = []
    if service.env_file is not None:
        _read_into(values, problems, service.env_file, "env_file", None)
    for name, value in service.env.items():
        if isinstance(value, SecretRef):
            _read_into(values, problems, value.file, f"env.{name}", name)
        else:
            values[name] = value
    if problems:
        raise DefinitionsError("env and env_file", problems)
    return values


def redaction(service: Service) -> Callable[[str], str]:
    """Return a function that removes the service's secrets from a text, or hides all of it if they cannot be read."""
    try:
        return redactor(environment(service).values())
    except ConductorError:
        return lambda text: text and "(hidden: the service's secrets cannot be read)"


def _read_into(values: dict[str, str | Secret], problems: list[Problem], file: str, key: str, name: str | None) -> None:
    """Read one file into `values`: as the secret of variable `name`, or as an env file when `name` is None."""
    try:
        text = _read_text(file)
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
    """Yield the variables and problems of a file in Docker's `--env-file` format: no quotes, no expansion."""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        stripped = line.removesuffix("\r").lstrip(_SPACE)
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        if not _NAME.fullmatch(name):
            yield Problem(file, number, "", "invalid variable name; write NAME=VALUE")
        elif not equals:
            # Docker would copy the variable from the caller's environment, which is not the same under cron or SSH.
            # The message leaves out the name: a stray line of a secret may look like one.
            yield Problem(file, number, "", "variable without a value; write NAME=VALUE")
        else:
            yield name, value


def _read_text(file: str) -> str:
    """Return the text of a regular file. Raise `OSError`, or `ValueError` with the problem."""
    path = Path(file)
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise ValueError(f"must be a regular file, not a {'directory' if stat.S_ISDIR(mode) else 'device or pipe'}")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        raise ValueError("must be UTF-8 text") from None
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text
