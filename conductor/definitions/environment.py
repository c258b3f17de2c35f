"""Read the environment of a container (`env` over `env_file`, with the contents of secret files) and the headers of its
health check.

Only this module reads these files. No message contains any of their contents, not even of an invalid line.
"""

import re
import stat
from collections.abc import Callable
from pathlib import Path

from conductor.definitions.model import EnvFile, Health, Service
from conductor.definitions.problems import DefinitionsError, Problem
from conductor.definitions.redaction import redactor
from conductor.definitions.scalars import Secret
from conductor.definitions.section import SecretRef
from conductor.errors import ConductorError

HIDDEN = "(hidden: the service's secrets cannot be read)"  # instead of a text
_NAME = re.compile(r"[^=\s\x00-\x1f\x7f]+")  # the same names as `env` accepts
_HEADER_VALUE = re.compile(r"[ -~]*")
_USUAL_NAME = re.compile(r"[\w.:\[\]-]+")
_SPACE = "\t\n\v\f\r \x85\xa0"  # what Docker removes from the start of a line
_EXPORT = re.compile(r"export[ \t]")
_BYTE_ORDER_MARK = "\ufeff"
# Patterns, compiled only for a service with an env file: that takes 2 ms.
_SENSITIVE_NAME = (
    r"(?i)PASSW|PASSPHRASE|TOKEN|SECRET|CREDENTIAL|KEYS?(?![A-Z])|(?<![A-Z])(PASS|DSN)(?![A-Z])|_PWD(?![A-Z])"
)
# In a URL or a connection string. A password with an unescaped / is found as well: the text after the colon is not a port.
_CREDENTIALS = r"(?i)://([^\s/?#@]+|[^\s/?#@:]*:(?!\d+/)\S+)@|\b(password|pwd)="


def names_secret(name: str) -> bool:
    """Return whether a name looks like that of a secret."""
    return re.search(_SENSITIVE_NAME, name) is not None


def environment(service: Service, service_id: str = "") -> dict[str, str | Secret]:
    """Return all variables. Raise `DefinitionsError`, which names the service, with the problems of all files.

    The contents of a secret file are a `Secret`, and so is a value of an env file that is declared or looks like one.
    """
    read = _Files(service)
    if read.problems:
        what = "the secret and env files" + (f" of {service_id}" if service_id else "")
        hint = (
            "create or correct these files, then run conductor config check --files, which checks those of all services"
        )
        raise DefinitionsError(what, read.problems, hint)
    return read.values


def health_headers(service: Service) -> dict[str, str | Secret]:
    """Return the headers of the service's health check. Raise as `request_headers` does."""
    return request_headers(service.health) if service.health else {}


def request_headers(health: Health) -> dict[str, str | Secret]:
    """Return the headers of a health check. Raise `DefinitionsError` if the file of a secret value cannot be used."""
    if not health.headers:
        return {}
    read = _SecretFiles()
    headers = {name: read.value(value, f"health.headers.{name}") for name, value in health.headers.items()}
    for name, value in headers.items():
        if isinstance(value, Secret) and not _HEADER_VALUE.fullmatch(value.reveal()):
            reference = health.headers[name]
            file = reference.file if isinstance(reference, SecretRef) else ""
            read.problems.append(Problem(file, 0, f"health.headers.{name}", "must be one line of printable ASCII"))
    if read.problems:
        raise DefinitionsError("health.headers", read.problems)
    return headers


def secrets(service: Service) -> tuple[str | Secret, ...]:
    """Return every value that may be a secret of the service. Raise `DefinitionsError` with the problems of its files."""
    return (*environment(service).values(), *health_headers(service).values())


def file_warnings(service: Service) -> list[Problem]:
    """Return warnings about valid but probably unintended contents of secret and env files. Skip unreadable files."""
    return _Files(service).warnings


def secret(file: str) -> Secret:
    """Return the contents of a secret file. Raise `ConductorError` if it cannot be read."""
    try:
        return Secret(_read_text(file).removesuffix("\n"))
    except OSError as error:
        raise ConductorError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise ConductorError(f"cannot read {file}: it {error}") from error


def files(service: Service) -> tuple[str, ...]:
    """Return the paths of the secret and env files."""
    env_file = service.env_file
    path = env_file.path if isinstance(env_file, EnvFile) else env_file
    secrets = (value.file for value in service.env.values() if isinstance(value, SecretRef))
    return (*((path,) if path is not None else ()), *secrets)


def file_stamps(service: Service) -> tuple[object, ...]:
    """Return a value for each secret and env file and for the server template, which changes whenever the file does.

    It is None for a file that cannot be found. Nothing is read.
    """
    template = service.nginx.server.template if service.nginx and service.nginx.server else None
    return tuple(_stamp(Path(file)) for file in (*files(service), *((template,) if template is not None else ())))


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def redaction(service: Service) -> Callable[[str], str]:
    """Return a function that removes the service's secrets from a text, or hides all of it if they cannot be read."""
    try:
        return redactor(secrets(service))
    except ConductorError:
        return lambda text: text and HIDDEN


class _SecretFiles:
    """Reads secret files. Each problem and each warning has a line number and no contents."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def value(self, written: str | SecretRef, key: str) -> str | Secret:
        """Return a text, or the contents of its file. Those of a file that cannot be used are empty."""
        if isinstance(written, str):
            return written
        text = self._text(written.file, key) or ""
        if text.startswith(_BYTE_ORDER_MARK):
            sentence = "starts with a byte order mark, which becomes part of the value; save the file without it"
            self.warnings.append(Problem(written.file, 1, key, sentence))
        if "\r" in text:
            line = text.count("\n", 0, text.index("\r")) + 1
            sentence = "has a carriage return, which becomes part of the value; end lines with \\n"
            self.warnings.append(Problem(written.file, line, key, sentence))
        return Secret(text.removesuffix("\n"))

    def _text(self, file: str, key: str) -> str | None:
        try:
            return _read_text(file)
        except OSError as error:
            self.problems.append(Problem(file, 0, key, f"cannot be read: {error.strerror}"))
        except ValueError as error:
            self.problems.append(Problem(file, 0, key, str(error)))
        return None


class _Files(_SecretFiles):
    """The environment of a service, from its files."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self.values: dict[str, str | Secret] = {}
        if service.env_file is not None:
            written = service.env_file
            self._env_file(written if isinstance(written, EnvFile) else EnvFile(path=written))
        for name, value in service.env.items():
            self.values[name] = self.value(value, f"env.{name}")

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
                is_secret = file.secret or names_secret(name) or re.search(_CREDENTIALS, value)
                self.values[name] = Secret(value) if is_secret else value
                if not _USUAL_NAME.fullmatch(name):
                    sentence = "unusual variable name; check that the line is NAME=VALUE"
                    self.warnings.append(Problem(file.path, number, "", sentence))
                if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
                    sentence = "the quotes become part of the value, as in Docker; remove them"
                    self.warnings.append(Problem(file.path, number, "", sentence))

    def _problem(self, file: EnvFile, line: int, sentence: str) -> None:
        self.problems.append(Problem(file.path, line, "", sentence))


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
