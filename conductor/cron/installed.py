"""The files that Conductor installs for cron: how they begin, and the jobs in them (pure).

It imports no part of the parser of crontabs: `service status` reads the file of each service.
"""

import hashlib
import re
from collections.abc import Iterator

import msgspec

from conductor.cron import words

HEADER = "# Written by Conductor for"  # how a file begins; without it, the file is not Conductor's
_LINE = re.compile(
    r"(?P<schedule>@[a-z]+|[^#\s]\S*(?:[ \t]+\S+){4}) root .*? run (?:.*? )??"
    r"--id (?P<service>[a-z0-9][a-z0-9_-]*) --revision (?P<revision>[A-Za-z0-9_][A-Za-z0-9_.-]*) (?P<rest>.*)"
)
_KEY = re.compile(r"(?:^| )--job (?P<key>[0-9a-f]{12}) ")
_IN_SHELL = re.compile(r"\S+ -c '(?P<text>.*)'", re.DOTALL)


class InstalledJob(msgspec.Struct, frozen=True):
    """A job of an installed file. `schedule` and `command` are those of the app's crontab."""

    service: str
    revision: str
    key: str
    schedule: str
    command: str


def job_key(command: str) -> str:
    """Return 12 hex digits that identify a command as written, in every revision and with every schedule."""
    return hashlib.sha256(command.encode()).hexdigest()[:12]


def installed_jobs(text: str) -> tuple[InstalledJob, ...]:
    """Return the jobs of an installed file in order, without lines that `wrap` did not write or that were edited."""
    return tuple(job for line in text.split("\n") if (found := _LINE.fullmatch(line)) for job in _job(found))


def _job(found: re.Match[str]) -> Iterator[InstalledJob]:
    """Yield the job of a line: the one reading of the line whose command has the key that the line names."""
    rest = found["rest"]
    for start in _KEY.finditer(rest):
        inner = rest[start.end() :]
        head, stdin = words.split_input(inner)
        in_shell = _IN_SHELL.fullmatch(head)
        commands = [inner, *([in_shell["text"].replace("'\\''", "'") + stdin] if in_shell else [])]
        for command in commands:
            if job_key(command) == start["key"]:
                yield InstalledJob(found["service"], found["revision"], start["key"], found["schedule"], command)
                return
