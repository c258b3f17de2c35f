"""Answers of queries on stdout, remarks on stderr; a reader who has left is no failure, a full disk is one."""

import errno
import sys

from conductor.errors import ConductorError


def answer(text: str, end: str = "\n") -> None:
    """Write to stdout, to its end. Whoever read it and left has seen enough."""
    try:
        sys.stdout.write(text + end)
        sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise ConductorError(f"cannot write the answer: {error.strerror}") from error


def remark(text: str) -> None:
    """A line on stderr; when nobody reads it, the exit code still says what happened."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return
