"""Bug reports: an unhandled exception is written to a file, and the error that is printed names the file."""

import contextlib
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from conductor import STATE_DIR
from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.version import version

DIRECTORY = Path(STATE_DIR) / "logs"
_VARIABLE = re.compile(r"((?:--env=|-\w*e)?[^\W\d]\w*=).*", re.DOTALL)  # NAME=VALUE, also within an option


class BugError(ConductorError):
    """A bug in Conductor."""

    exit_code = 3


def bug(error: Exception, argv: Sequence[str], directory: Path) -> BugError:
    """Write a report to `directory`, or else to the directory for temporary files, and return the error to print.

    If no report can be written, the error says where the exception was raised. The exception's text
    is left out, because it may contain a secret.
    """
    sentence, hint = "this is a bug in Conductor", "please report it"
    try:
        path = _write_somewhere(directory, argv, error)
    except Exception as second:  # noqa: BLE001 (a second error must not hide the first one)
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {last.filename}:{last.lineno} in {last.name}"
        cause = second.strerror if isinstance(second, OSError) else None
        return BugError(sentence, hint, (place, f"cannot write a report: {cause or type(second).__name__}"))
    return BugError(sentence, f"{hint} and attach {path}")


def _write_somewhere(directory: Path, argv: Sequence[str], error: Exception) -> Path:
    with contextlib.suppress(OSError):
        return _write(directory, argv, error)
    return _write(Path(tempfile.gettempdir()), argv, error)


def _write(directory: Path, argv: Sequence[str], error: Exception) -> Path:
    """Write the arguments and the traceback, without values of variables and local variables, which may hold secrets."""
    stamp = Clock().now()[:19].replace("-", "").replace(":", "")
    path = directory / f"conductor-bug-{stamp}-{os.getpid()}.txt"
    trace = "".join(traceback.format_exception(error))
    words = " ".join(_VARIABLE.sub(r"\1[hidden]", word) if _VARIABLE.fullmatch(word) else word for word in argv)
    text = f"conductor {version()}, Python {sys.version}\nconductor {words}\n\n{trace}"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", errors="backslashreplace") as stream:
            stream.write(text)
    except OSError:
        path.unlink()
        raise
    return path
