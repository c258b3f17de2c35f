"""Writes to stdout and stderr, with control characters escaped. A closed pipe is not an error; a full disk behind
stdout is."""

import errno
import sys

from conductor.errors import ConductorError
from conductor.output.printable import printable


def write_stdout(text: str, end: str = "\n") -> None:
    """Write the result of a query to stdout. A reader that has closed the pipe is no error."""
    try:
        sys.stdout.write(printable(text) + end)
        sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise ConductorError(f"cannot write to stdout: {error.strerror}") from error


def write_stderr(text: str) -> None:
    """Write a line to stderr. Failures are ignored: the exit code reports the outcome too."""
    try:
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return
