"""Read the environment of a container: `env` over `env_file`, with the contents of secret files.

Only this module reads these files. No message contains any of their contents, not even of an invalid line.
"""

import re
import stat
from collections.abc import Callable
from pathlib import Path

from conductor.definitions.model import EnvFile, SecretRef, Service
from conductor.definitions.problems import DefinitionsError, Problem
from conductor.definitions.redaction import redactor
from conductor.definitions.scalars import Secret
from conductor.errors import ConductorError

_NAME = re.compile(r"[^=\s\x00-\x1f\x7f]+")  # the same names as `env` accepts
_USUAL_NAME = re.compile(r"[\w.:\[\]-]+")
_SPACE = "\t\n\v\f\r \x85\xa0"  # what Docker removes from the start of a line
_EXPORT = re.compile(r"export[ \t]")
_BYTE_ORDER_MARK = "\ufeff"
_SECRET_NAME = re.compile(
    r"PASSW|PASSPHRASE|TOKEN|SECRET|CREDENTIAL|KEYS?(?![A-Z])|(?<![A-Z])(PASS|DSN)(?![A-Z])|_PWD(?![A-Z])",
    re.IGNORECASE,
)
# In a URL or a connection string. A password with an unescaped / is found as well: the text after the colon is not a port.
_CREDENTIALS = re.compile(r"://([^\s/?#@]+|[^\s/?#@:]*:(?!\d+/)\S+)@|\b(password|pwd)=", re.IGNORECASE)


def environment(service: Service) -> dict[str, str | Secret]:
    """Return all variables. Raise `DefinitionsError` with the problems of all files.

    The contents of a secret file are a `Secret`, and so is a value of an env file that is declared or looks like one.
    """
    read = _Files(service)
    if read.problems:
        raise DefinitionsError("env and env_file", read.problems)
    return read.values


def file_warnings(service: Service) -> list[Problem]:
    """Return warnings about valid but probably unintended contents of secret and env files. Skip unreadable files."""
    return _Files(service).warnings


def redaction(service: Service) -> Callable[[str], str]:
    """Return a function that removes the service's secrets from a text, or hides all of it if they cannot be read."""
    try:
        return redactor(environment(service).values())
    except ConductorError:
        return lambda text: text and "(hidden: the service's secrets cannot be read)"


class _Files:
    """What the files of a service contain: values, problems and warnings. Each problem has a line number and no contents."""

    def __init__(self, service: Service) -> None:
        self.values: dict[str, str | Secret] = {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        if service.env_file is not None:
            written = service.env_file
            self._env_file(written if isinstance(written, EnvFile) else EnvFile(path=written))
        for name, value in service.env.items():
            if isinstance(value, SecretRef):
                self._secret_file(value.file, name)
            else:
                self.values[name] = value

    def _secret_file(self, file: str, name: str) -> None:
        text = self._text(file, f"env.{name}")
        if text is None:
            return
        if text.startswith(_BYTE_ORDER_MARK):
            sentence = "starts with a byte order mark, which becomes part of the value; save the file without it"
            self.warnings.append(Problem(file, 1, f"env.{name}", sentence))
        if "\r" in text:
            line = text.count("\n", 0, text.index("\r")) + 1
            sentence = "has a carriage return, which becomes part of the value; end lines with \\n"
            self.warnings.append(Problem(file, line, f"env.{name}", sentence))
        self.values[name] = Secret(text.removesuffix("\n"))

    def _env_file(self, file: EnvFile) -> None:
        """Read a file in Docker's `--env-file` format: no quotes, no expansion."""
        text = self._text(file.path, "env_file") or ""
        for number, line in enumerate(text.removeprefix(_BYTE_ORDER_MARK).split("\n"), 1):
            stripped = line.removesuffix("\r").lstrip(_SPACE)
            if not stripped or stripped.startswith("#"):
                continue
            name, equals, value = stripped.partition("=")
            if _EXPORT.match(name):
                self._problem(file, number, "export is not part of the format; write NAME=VALUE")
            elif not _NAME.fullmatch(name):
                self._problem(file, number, "invalid variable name; write NAME=VALUE")
            elif not equals:
                # Docker would copy the variable from the caller's environment, which is not the same under cron or SSH.
                self._problem(file, number, "variable without a value; write NAME=VALUE")
            else:
                is_secret = file.secret or _SECRET_NAME.search(name) or _CREDENTIALS.search(value)
                self.values[name] = Secret(value) if is_secret else value
                if not _USUAL_NAME.fullmatch(name):
                    sentence = "unusual variable name; check that the line is NAME=VALUE"
                    self.warnings.append(Problem(file.path, number, "", sentence))
                if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
                    sentence = "the quotes become part of the value, as in Docker; remove them"
                    self.warnings.append(Problem(file.path, number, "", sentence))

    def _problem(self, file: EnvFile, line: int, sentence: str) -> None:
        self.problems.append(Problem(file.path, line, "", sentence))

    def _text(self, file: str, key: str) -> str | None:
        try:
            return _read_text(file)
        except OSError as error:
            self.problems.append(Problem(file, 0, key, f"cannot be read: {error.strerror}"))
        except ValueError as error:
            self.problems.append(Problem(file, 0, key, str(error)))
        return None


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
