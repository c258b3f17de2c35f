"""The file for `/etc/cron.d`: each job of a table becomes one `conductor run`, and back for `cron list` (pure).

Cron gives the wrapped text to the host's `/bin/sh -c`. Whatever the table holds, that is one simple command of literal
words, so nothing of the app's runs, expands or redirects on the host; its shell syntax runs inside the container.
"""

import hashlib
import re
from collections.abc import Iterator
from posixpath import basename

import msgspec

from conductor.cron import words
from conductor.cron.schedule import REBOOT
from conductor.cron.table import LONGEST_COMMAND_BYTES, CrontabError, Job, Setting, Table, Text
from conductor.errors import ConductorError

USER = "root"
DEFAULT_SHELL = "/bin/sh"
_MAIL = frozenset({"MAILTO", "MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING"})
# Shells that do with literal words what we read from their code: start the program, and nothing before.
_PLAIN_SHELLS = frozenset({"sh", "dash", "ash", "bash"})
_READ_BY_BASH = frozenset({"BASH_ENV", "SHELLOPTS"})
_LINE = re.compile(
    r"(?P<schedule>@[a-z]+|[^#\s]\S*(?:[ \t]+\S+){4}) root .*? run (?:.*? )??"
    r"--id (?P<service>[a-z0-9][a-z0-9_-]*) --revision (?P<revision>[A-Za-z0-9_][A-Za-z0-9_.-]*) (?P<rest>.*)"
)
_KEY = re.compile(r"(?:^| )--job (?P<key>[0-9a-f]{12}) ")
_IN_SHELL = re.compile(r"\S+ -c '(?P<text>.*)'", re.DOTALL)


class Wrapped(msgspec.Struct, frozen=True):
    """A job of an installed file. `command` is the text of the app's own crontab."""

    service: str
    revision: str
    key: str
    schedule: str
    command: str


def job_key(command: str) -> str:
    """The job's name, the same for a command as written in every revision and schedule: 12 hex digits."""
    return hashlib.sha256(command.encode()).hexdigest()[:12]


def wrap(table: Table, *, service: str, revision: str, program: str, config: str | None) -> str:
    """The whole text of the file. `CrontabError` names every line whose wrapped command is too long for cron."""
    start = [program, "run", *(["--config", config] if config else []), "--id", service, "--revision", revision]
    begin = " ".join(words.word(text) for text in start)
    if not program.startswith("/") or re.search(r"[\x00-\x1f\x7f]", begin):
        # A bare name could be a builtin or an assignment to the host's shell; a newline would be a line of its own.
        raise ConductorError(f"cannot write a crontab: {begin!r} must start with an absolute path, on one line")
    written = [f"# Written by Conductor for {service} {revision}; it writes this file anew at each install."]
    problems: list[tuple[int, str]] = []
    settings: dict[str, str] = {}
    for line in table.lines:
        if isinstance(line, Text) or (isinstance(line, Setting) and line.name in _MAIL):
            written.append(line.raw)
        elif isinstance(line, Setting):
            settings[line.name] = line.value
        else:
            command = f"{begin} {_options(line, settings)} {_inner(line, settings)}"
            written.append(f"{line.schedule} {USER} {command}")
            if (size := len(command.encode())) > LONGEST_COMMAND_BYTES:
                reason = f"the command takes {size} bytes when wrapped, and cron at most {LONGEST_COMMAND_BYTES}"
                problems.append((line.number, f"{reason}: put it into a script of the app"))
    if problems:
        raise CrontabError(problems)
    return "\n".join(written) + "\n"


def unwrapped(text: str) -> tuple[Wrapped, ...]:
    """The jobs in an installed file, in order; lines that `wrap` did not write, or that were edited, are left out."""
    return tuple(job for line in text.split("\n") if (found := _LINE.fullmatch(line)) for job in _job(found))


def _options(job: Job, settings: dict[str, str]) -> str:
    """What comes between the revision and the command; `--job` is last."""
    options = ["--wait-for-docker", "5m"] if job.schedule == REBOOT else []
    for name, value in settings.items():
        options += ["-e", f"{name}={value}"]
    if "HOME" in settings:
        options += ["--workdir", settings["HOME"]]
    return " ".join(words.word(option) for option in [*options, "--job", job_key(job.command)])


def _inner(job: Job, settings: dict[str, str]) -> str:
    """The command inside the container, as written in the crontab; the text for its standard input follows raw."""
    head, rest = words.split(job.command)
    shell = settings.get("SHELL", DEFAULT_SHELL)
    plain = basename(shell) in _PLAIN_SHELLS and not (basename(shell) == "bash" and _READ_BY_BASH & settings.keys())
    if plain and words.literal(words.unescaped(head)):
        return head + rest
    return f"{shell} -c {words.quoted(head)}{rest}"


def _job(found: re.Match[str]) -> Iterator[Wrapped]:
    """The job of a line: its key tells which of the ways to read it is the right one."""
    rest = found["rest"]
    for start in _KEY.finditer(rest):
        inner = rest[start.end() :]
        head, stdin = words.split(inner)
        in_shell = _IN_SHELL.fullmatch(head)
        commands = [inner, *([in_shell["text"].replace("'\\''", "'") + stdin] if in_shell else [])]
        for command in commands:
            if job_key(command) == start["key"]:
                yield Wrapped(found["service"], found["revision"], start["key"], found["schedule"], command)
                return
