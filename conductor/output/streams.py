"""Writes to stdout and stderr, with control characters escaped. A closed pipe is not an error; a full disk behind
stdout is."""

import errno
import os
import sys

from conductor.errors import ConductorError
from conductor.output.printable import printable
from conductor.output.verbosity import is_quiet


def write_stdout(text: str, end: str = "\n", *, mark: str = "") -> bool:
    """Write the result of a query to stdout, after `mark`, which may contain colours.

    Return False if the reader has closed the pipe, which is no error.
    """
    try:
        sys.stdout.write(mark + printable(text) + end)
        sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise ConductorError(f"cannot write to stdout: {error.strerror}") from error
        return False
    return True


def has_colours() -> bool:
    """Return whether stdout is a terminal that should show colours."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and "NO_COLOR" not in os.environ


def write_notice(text: str) -> None:
    """Write a line to stderr that is no error, unless `--quiet` is given."""
    if not is_quiet():
        write_stderr(text)


def write_stderr(text: str) -> None:
    """Write a line to stderr. Failures are ignored: the exit code reports the outcome too."""
    try:
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return
