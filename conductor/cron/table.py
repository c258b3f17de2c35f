"""A user crontab as values: every line is read by Debian cron's rules (3.0pl1-162), or the whole table is refused.

Refused is what cron would refuse and also what it would silently read as something else; all problems at once.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from conductor.cron import advice, settings
from conductor.cron.schedule import parse as parse_schedule
from conductor.cron.words import shown, split
from conductor.errors import ConductorError

LONGEST_TABLE_LINES = 10_000  # cron's own limit, and its 998 bytes of a command
LONGEST_COMMAND_BYTES = settings.LONGEST_BYTES
_BLANKS = " \t"
_JOB = re.compile(r"(@[^ \t]*|[^ \t]+(?:[ \t]+[^ \t]+){4})(?:[ \t]+(.*))?", re.DOTALL)


class Text(msgspec.Struct, frozen=True):
    """A blank line or a comment, as it is."""

    number: int
    raw: str


class Setting(msgspec.Struct, frozen=True):
    """A NAME=VALUE line; `value` is what cron sets."""

    number: int
    raw: str
    name: str
    value: str


class Job(msgspec.Struct, frozen=True):
    """Schedule and command as written; the command is everything after the schedule, its `%` and `\\` untouched."""

    number: int
    schedule: str
    command: str


class Note(msgspec.Struct, frozen=True):
    """Something legal that is likely not meant."""

    line: int
    sentence: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.sentence}"


class Table(msgspec.Struct, frozen=True):
    """All lines in order, and what to tell about them."""

    lines: tuple[Text | Setting | Job, ...]
    warnings: tuple[Note, ...] = ()

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs in order; a table without any needs no file."""
        return tuple(line for line in self.lines if isinstance(line, Job))


class CrontabError(ConductorError):
    """A table with problems: all of them (line number and reason), in the order of its lines."""

    def __init__(self, problems: Iterable[tuple[int, str]]) -> None:
        self.problems = tuple(problems)
        number = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(
            f"cannot use the crontab: {number}",
            "mend what prints the crontab; no line of it was installed",
            tuple(f"line {number}: {reason}" for number, reason in self.problems),
        )


class _Refused(Exception):  # noqa: N818 (a line's reason on its way into the list of problems)
    """Why a line is refused."""


def parse(text: str | bytes) -> Table:
    """The table, or `CrontabError` with every line that cron would refuse or misread. The last line may lack its end."""
    data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    written = data.removesuffix(b"\n").split(b"\n") if data else []
    problems = list(_of_whole(written))
    lines: list[Text | Setting | Job] = []
    for number, line in enumerate(written, 1):
        try:
            lines.append(_line(number, line.removesuffix(b"\r")))
        except _Refused as refused:
            problems.append((number, str(refused)))
    if problems:
        raise CrontabError(sorted(problems, key=lambda problem: problem[0]))
    return Table(tuple(lines), tuple(_notes(lines)))


def _of_whole(lines: list[bytes]) -> Iterator[tuple[int, str]]:
    """Problems of the text rather than of a line: its length, and its kind of line ends, which is told once."""
    if len(lines) > LONGEST_TABLE_LINES:
        yield LONGEST_TABLE_LINES + 1, f"cron takes at most {LONGEST_TABLE_LINES} lines: write fewer, or use scripts"
    returns = [number for number, line in enumerate(lines, 1) if line.endswith(b"\r")]
    if returns:
        more = f", as do {len(returns) - 1} more lines" if len(returns) > 1 else ""
        what = rf"ends in a carriage return (\r\n){more}"
        yield returns[0], rf"{what}: cron reads it as part of the line: end lines with \n alone"


def _line(number: int, data: bytes) -> Text | Setting | Job:
    """One line without its end."""
    try:
        raw = data.decode()
    except UnicodeDecodeError:
        raise _Refused("is not UTF-8 text: write it in UTF-8") from None
    if "\0" in raw:
        raise _Refused("holds a NUL, where cron would end the line: leave it out")
    line = raw.lstrip(_BLANKS)
    if not line or line.startswith("#"):
        return Text(number, raw)
    if settings.too_long(line):
        raise _Refused(f"cron cuts a setting off after {LONGEST_COMMAND_BYTES} bytes: write a shorter value")
    if setting := settings.read(line):
        if reason := settings.problem(line):
            raise _Refused(reason)
        return Setting(number, raw, *setting)
    return _job(number, line)


def _job(number: int, line: str) -> Job:
    """A line that is neither blank, comment nor setting."""
    if line.startswith("\ufeff"):
        raise _Refused("starts with a byte order mark, which cron does not skip: write plain UTF-8 without one")
    if reason := settings.mistaken(line):
        raise _Refused(reason)
    found = _JOB.fullmatch(line)
    schedule, command = (found[1], found[2] or "") if found else (line, "")
    try:
        parse_schedule(schedule)
    except ValueError as error:
        raise _Refused(f"{error} ({shown(line)})") from None
    head, rest = split(command)
    if not head.strip(_BLANKS):
        raise _Refused(f"a schedule without a command{' before its %' * bool(rest)}: write one ({shown(line)})")
    if head.startswith("*"):
        raise _Refused(f"cron takes no command that starts with *: a schedule has five fields ({shown(line)})")
    if not rest and re.search(r"(?<!\\)(?:\\\\)*\\$", head):
        raise _Refused("cron knows no continuation lines: write the whole command on one line")
    if len(command.encode()) > LONGEST_COMMAND_BYTES:
        raise _Refused(f"cron takes at most {LONGEST_COMMAND_BYTES} bytes of command: put it into a script")
    return Job(number, schedule, command)


def _notes(lines: Iterable[Text | Setting | Job]) -> Iterator[Note]:
    for line in lines:
        if isinstance(line, Setting):
            yield from (Note(line.number, said) for said in advice.on_setting(line.name, line.value))
        elif isinstance(line, Job):
            yield from (Note(line.number, said) for said in advice.on_job(line.schedule, line.command))
