"""Parse a user crontab by the rules of Debian's cron (3.0pl1-162), or reject all of it with every problem.

A line is rejected if cron would reject it, and also if cron would accept it with another meaning than it seems to have.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from conductor.cron import dialects, settings, shell_syntax
from conductor.cron.schedule import parse as parse_schedule
from conductor.cron.words import DEFAULT_SHELL, excerpt, split_input, unescape
from conductor.errors import ConductorError, first_of

MAX_LINES = 10_000  # cron's limit
MAX_COMMAND_BYTES = settings.MAX_BYTES  # cron has the same limit for a command as for a setting
_BLANKS = " \t"
_JOB = re.compile(r"(@[^ \t]*|[^ \t]+(?:[ \t]+[^ \t]+){4})(?:[ \t]+(.*))?", re.DOTALL)


class Comment(msgspec.Struct, frozen=True):
    """A comment or a blank line, unchanged."""

    number: int
    raw: str


class Setting(msgspec.Struct, frozen=True):
    """A NAME=VALUE line; `value` is what cron sets."""

    number: int
    raw: str
    name: str
    value: str


class Job(msgspec.Struct, frozen=True):
    """A schedule and its command, both as written: the command still has its `%` and `\\`."""

    number: int
    schedule: str
    command: str


class Finding(NamedTuple):
    """A problem of a line, or a warning about it."""

    line: int
    sentence: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.sentence}"


class Table(msgspec.Struct, frozen=True):
    """All lines in order, and the warnings about them."""

    lines: tuple[Comment | Setting | Job, ...]
    warnings: tuple[Finding, ...] = ()

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs in order. A table without jobs needs no file."""
        return tuple(line for line in self.lines if isinstance(line, Job))


class CrontabError(ConductorError):
    """A crontab cannot be used; `problems` has all problems, sorted by line."""

    def __init__(self, problems: Iterable[tuple[int, str]]) -> None:
        found = (Finding(line, sentence) for line, sentence in problems)
        self.problems = tuple(sorted(found, key=lambda problem: problem.line))
        number = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(
            f"cannot use the crontab: {number}",
            "fix the command that prints the crontab; nothing was installed",
            tuple(map(str, self.problems)),
        )

    @property
    def summary(self) -> str:
        """The sentence with the first problems."""
        return f"{self.sentence}: {first_of(self.problems)}"


class _Rejected(Exception):  # noqa: N818 (not an error of the caller: `parse` collects it)
    """A line is rejected; the message is the problem."""


def parse(text: str | bytes, *, stored: bool = False) -> Table:
    """Return the table. Raise `CrontabError` with every problem. The last line may lack its newline.

    A `stored` table was checked when it was generated. Only cron's own rules are applied to it, so that a version with
    more checks can still install it.
    """
    data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    written = data.removesuffix(b"\n").split(b"\n") if data else []
    problems = list(_whole_text(written))
    lines: list[Comment | Setting | Job] = []
    for number, line in enumerate(written, 1):
        try:
            if not stored:
                _refuse_another_dialect(line)
            lines.append(_line(number, line.removesuffix(b"\r")))
        except _Rejected as rejected:
            problems.append(Finding(number, str(rejected)))
    problems += [] if stored else _shell_problems(lines)
    if problems:
        raise CrontabError(problems)
    return Table(tuple(lines), tuple(_warnings(lines)))


def _whole_text(lines: list[bytes]) -> Iterator[Finding]:
    """Yield the problems of the whole text: too many lines, and carriage returns, which are reported once."""
    if len(lines) > MAX_LINES:
        yield Finding(MAX_LINES + 1, f"cron accepts at most {MAX_LINES} lines; remove lines, or move jobs into scripts")
    returns = [number for number, line in enumerate(lines, 1) if line.endswith(b"\r")]
    if returns:
        also = len(returns) - 1
        more = f" (also on {also} more line{'s' * (also != 1)})" if also else ""
        yield Finding(
            returns[0],
            rf"ends in a carriage return (\r\n), which cron reads as part of the line{more}; end lines with \n",
        )


def _refuse_another_dialect(data: bytes) -> None:
    """Reject a line of another scheduler, before cron's own rules complain about one of its fields."""
    line = data.decode(errors="replace").strip()
    if line.startswith("#"):
        return
    if problem := dialects.setting_before_schedule(line):
        raise _Rejected(problem)
    found = _JOB.fullmatch(line)
    if found is None or settings.read(line) or settings.malformed(line):
        return
    if problem := dialects.extra_column(found[2] or ""):
        raise _Rejected(f"{problem} (line: {excerpt(line)})")


def _line(number: int, data: bytes) -> Comment | Setting | Job:
    """Parse one line without its newline."""
    try:
        raw = data.decode()
    except UnicodeDecodeError:
        raise _Rejected("not valid UTF-8; write the crontab in UTF-8") from None
    if "\0" in raw:
        raise _Rejected("contains a NUL character, at which cron ends the line; remove it")
    line = raw.lstrip(_BLANKS)
    if not line or line.startswith("#"):
        return Comment(number, raw)
    if settings.too_long(line):
        raise _Rejected(f"cron cuts off a setting after {settings.MAX_BYTES} bytes; write a shorter value")
    if setting := settings.read(line):
        if problem := settings.problem(line):
            raise _Rejected(problem)
        return Setting(number, raw, *setting)
    return _job(number, line)


def _job(number: int, line: str) -> Job:
    """Parse a line that is neither a comment nor a setting."""
    if line.startswith("\ufeff"):
        raise _Rejected("starts with a byte order mark, which cron does not skip; write UTF-8 without it")
    if problem := settings.malformed(line):
        raise _Rejected(problem)
    found = _JOB.fullmatch(line)
    schedule, command = (found[1], found[2] or "") if found else (line, "")
    try:
        parse_schedule(schedule)
    except ValueError as error:
        raise _Rejected(f"{error} (line: {excerpt(line)})") from None
    head, rest = split_input(command)
    if not head.strip(_BLANKS):
        raise _Rejected(f"no command{' before the first %' * bool(rest)}; write one (line: {excerpt(line)})")
    if head.startswith("*"):
        raise _Rejected(
            f"cron rejects a command that starts with *; write only five fields before it (line: {excerpt(line)})"
        )
    if not rest and re.search(r"(?<!\\)(?:\\\\)*\\$", head):
        raise _Rejected("cron does not support continuation lines; write the whole command on one line")
    if len(command.encode()) > MAX_COMMAND_BYTES:
        raise _Rejected(f"cron accepts at most {MAX_COMMAND_BYTES} bytes of command; move the command into a script")
    return Job(number, schedule, command)


def _shell_problems(lines: Iterable[Comment | Setting | Job]) -> Iterator[Finding]:
    """Yield the jobs whose command the shell of the table cannot run."""
    for shell, job in _jobs_with_shell(lines):
        head, rest = split_input(job.command)
        if problem := shell_syntax.problem(unescape(head), shell, cut=bool(rest)):
            yield Finding(job.number, f"{problem} (command: {excerpt(job.command)})")


def _jobs_with_shell(lines: Iterable[Comment | Setting | Job]) -> Iterator[tuple[str, Job]]:
    shell = DEFAULT_SHELL
    for line in lines:
        if isinstance(line, Setting) and line.name == "SHELL":
            shell = line.value
        elif isinstance(line, Job):
            yield shell, line


def _warnings(lines: Sequence[Comment | Setting | Job]) -> Iterator[Finding]:
    from conductor.cron import advice  # imported here because most commands parse no crontab

    for line in lines:
        if isinstance(line, Setting):
            yield from (Finding(line.number, text) for text in advice.on_setting(line.name, line.value))
    for shell, job in _jobs_with_shell(lines):
        yield from (Finding(job.number, text) for text in advice.on_job(job.schedule, job.command, shell))
