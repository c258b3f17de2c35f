"""Parse a crontab schedule as Debian's cron (3.0pl1-162) does, and compute its next run.

Cron ignores the text after a field that it could parse (`5#2` is 5, `*5` is every minute) and accepts empty ranges.
This grammar is stricter: it rejects such fields, and cron reads everything that it accepts in the same way.
"""

import re
from datetime import datetime, timedelta

import msgspec

from conductor.cron.words import excerpt

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
REBOOT = "@reboot"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MAX_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# The rarest schedule is 29 February on one weekday: at most 40 years apart, because 2100 is not a leap year.
_MAX_DAYS_AHEAD = 41 * 366
_VALUE = r"[0-9]{1,4}|[A-Za-z]+"
_RANGE = re.compile(rf"(?:\*|({_VALUE})(?:-({_VALUE}))?)(?:/([0-9]{{1,4}}))?")

_NAMES = "|".join((*_MONTHS, *_WEEKDAYS))
_LIKE_FIELD = re.compile(
    rf"[*?]|(?:[*?0-9]|(?:{_NAMES}|H)\b)(?:[*?0-9,/#-]|\b(?:{_NAMES}|[HLW])\b|(?<=[0-9])(?:LW?|W)\b)*|(?-i:LW?)",
    re.IGNORECASE,
)


class Field(msgspec.Struct, frozen=True):
    """One of the five fields: its name in messages, its bounds, and the names of its values from the lowest up."""

    name: str
    low: int
    high: int
    value_names: tuple[str, ...] = ()

    @property
    def syntax(self) -> str:
        """The end of a message: what to write in the field."""
        names = f" or names ({self.value_names[0]}, {self.value_names[1]})" if self.value_names else ""
        return (
            f"write * or numbers from {self.low} to {self.high}{names}, lists ({self.low},{self.high}), "
            f"ranges ({self.low}-{self.high}) and steps (*/2, {self.low}-{self.high}/2)"
        )


FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of the month", 1, 31),
    Field("month", 1, 12, _MONTHS),
    Field("day of the week", 0, 7, _WEEKDAYS),
)


class Schedule(msgspec.Struct, frozen=True):
    """The values of each field; a weekday is 0 (Sunday) to 6. With `reboot`, the other fields are empty.

    With `either_day`, a matching day of the month or a matching weekday is enough. Cron requires both only if one of
    the two fields begins with `*`.
    """

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    either_day: bool = False
    reboot: bool = False

    def matches_day(self, day: datetime) -> bool:
        """Return whether the job starts at any time on this day."""
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (in_month or in_week if self.either_day else in_month and in_week)


def looks_like_field(word: str) -> bool:
    """Return whether a word looks like a schedule field, either of cron or of a scheduler with more fields."""
    return _LIKE_FIELD.fullmatch(word) is not None


def parse(text: str) -> Schedule:
    """Parse five fields or a nickname, without the command. Raise `ValueError` with all problems and what to write."""
    if text == REBOOT:
        return Schedule(reboot=True)
    if text.startswith("@") and text not in NICKNAMES:
        known = ", ".join([*NICKNAMES, REBOOT])
        raise ValueError(f"unknown nickname {excerpt(text)}; write five fields or one of {known}")
    fields = NICKNAMES.get(text, text).split()
    if len(fields) != len(FIELDS):
        names = ", ".join(field.name for field in FIELDS)
        raise ValueError(f"no schedule; start the line with five fields ({names}) or a nickname such as @daily")
    sets: list[frozenset[int]] = []
    problems: list[str] = []
    for field, written in zip(FIELDS, fields, strict=True):
        try:
            sets.append(frozenset[int]().union(*(_range(field, part) for part in written.split(","))))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    weekdays = frozenset(day % 7 for day in sets[4])
    either_day = not (fields[2].startswith("*") or fields[4].startswith("*"))
    if not either_day and not any(day <= _MAX_DAYS_OF_MONTH[month - 1] for month in sets[3] for day in sets[2]):
        day, month = excerpt(fields[2]), excerpt(fields[3])
        raise ValueError(f'cron never starts the job: month "{month}" has no day "{day}"; write a date that exists')
    return Schedule(sets[0], sets[1], sets[2], sets[3], weekdays, either_day)


def next_run(schedule: Schedule, after: datetime) -> datetime | None:
    """Return the first minute after `after` (the host's wall time) in which cron starts the job; None for `@reboot`.

    Changes to and from summer time are not considered: cron then starts a skipped job late, or does not repeat it.
    """
    moment = after.replace(second=0, microsecond=0)
    if schedule.reboot:
        return None
    moment += timedelta(minutes=1)
    for _ in range(_MAX_DAYS_AHEAD):
        if schedule.matches_day(moment):
            earliest = (moment.hour, moment.minute)
            times = [(h, m) for h in schedule.hours for m in schedule.minutes if (h, m) >= earliest]
            if times:
                hour, minute = min(times)
                return moment.replace(hour=hour, minute=minute)
        moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
    return None


def _range(field: Field, text: str) -> range:
    """Parse one element of a list."""
    found = _RANGE.fullmatch(text)
    if not found:
        raise _invalid(field, text)
    first, last, step = found.groups()
    if step and int(step) == 0:
        raise ValueError(f'{field.name} "{excerpt(text)}" has a step of 0; write a step of 1 or more')
    if step and first == "H":  # H is Jenkins syntax
        raise ValueError(f'{field.name} "{excerpt(text)}": cron does not support H; write */{step}')
    low = _number(field, first) if first else field.low
    if first and step and not last:
        raise ValueError(f'{field.name} "{excerpt(text)}" has a step but no range; write {first}-{field.high}/{step}')
    high = _number(field, last) if last else low if first else field.high
    if high < low:
        # Sunday is also 7, so fri-sun is one range, 5-7. Every other reversed range has to be written as two.
        forward = f"{low}-7" if field.high == 7 and high == 0 else f"{low}-{field.high},{field.low}-{high}"
        raise ValueError(
            f'{field.name} "{excerpt(text)}" is a reversed range, for which cron never starts the job; write {forward}'
        )
    return range(low, high + 1, int(step or 1))


def _number(field: Field, text: str) -> int:
    """Parse a number or a name within the field's bounds."""
    if text.lower() in field.value_names:
        return field.value_names.index(text.lower()) + field.low
    if not text.isdecimal() or not field.low <= int(text) <= field.high:
        raise _invalid(field, text)
    return int(text)


def _invalid(field: Field, text: str) -> ValueError:
    if text.startswith("H"):
        return ValueError(f'{field.name} "{excerpt(text)}": cron does not support H; {field.syntax}')
    return ValueError(f'invalid {field.name} "{excerpt(text)}"; {field.syntax}')
