"""When a job starts: five fields or a nickname, strictly as Debian's cron (3.0pl1-162) takes them, and the next time.

Cron skips what follows a field it understood (`5#2` is 5, `*5` is every minute) and takes ranges that hold nothing, so
this grammar is narrower than cron's code: whatever it accepts, cron reads the same way.
"""

import re
from datetime import datetime, timedelta

import msgspec

from conductor.cron.words import shown

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
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# 29 February of a certain weekday comes after at most 40 years (2100 is no leap year).
_DAYS_AHEAD = 41 * 366
_VALUE = r"[0-9]{1,4}|[A-Za-z]+"
_RANGE = re.compile(rf"(?:\*|({_VALUE})(?:-({_VALUE}))?)(?:/([0-9]{{1,4}}))?")


class Field(msgspec.Struct, frozen=True):
    """One of the five: its name for people, its bounds, and the names of its values from the lowest on."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def grammar(self) -> str:
        """What to write."""
        names = f" or names ({self.names[0]}, {self.names[1]})" if self.names else ""
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
    """The values of each field; a weekday is 0 (Sunday) to 6. `either` says that a day of the month or a day of the
    week is enough: cron wants both only when one of the two fields begins with `*`. With `reboot` the rest is empty.
    """

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    either: bool = False
    reboot: bool = False

    def on(self, day: datetime) -> bool:
        """Whether a job starts on this day at all."""
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (in_month or in_week if self.either else in_month and in_week)


def parse(text: str) -> Schedule:
    """Five fields or a nickname, without the command; `ValueError` with everything that is wrong and what to write."""
    if text == REBOOT:
        return Schedule(reboot=True)
    if text.startswith("@") and text not in NICKNAMES:
        known = ", ".join([*NICKNAMES, REBOOT])
        raise ValueError(f"{shown(text)} is no schedule that cron knows: write {known} (lower case) or five fields")
    fields = NICKNAMES.get(text, text).split()
    if len(fields) != len(FIELDS):
        names = ", ".join(field.name for field in FIELDS)
        raise ValueError(f"a line starts with a schedule of five fields ({names}) or a nickname such as @daily")
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
    either = not (fields[2].startswith("*") or fields[4].startswith("*"))
    if not either and not any(day <= _LONGEST[month - 1] for month in sets[3] for day in sets[2]):
        raise ValueError(f"never comes: no month of {shown(fields[3])} has a day {shown(fields[2])}")
    return Schedule(sets[0], sets[1], sets[2], sets[3], weekdays, either)


def next_run(schedule: Schedule, after: datetime) -> datetime | None:
    """The first minute after `after` (wall time of the host) that cron starts the job in; None for `@reboot`.

    Where the wall clock jumps, cron makes up for it or does not repeat a job; this does not know of jumps.
    """
    moment = after.replace(second=0, microsecond=0)
    if schedule.reboot:
        return None
    moment += timedelta(minutes=1)
    for _ in range(_DAYS_AHEAD):
        if schedule.on(moment):
            now = (moment.hour, moment.minute)
            times = [(h, m) for h in schedule.hours for m in schedule.minutes if (h, m) >= now]
            if times:
                hour, minute = min(times)
                return moment.replace(hour=hour, minute=minute)
        moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
    return None


def _range(field: Field, text: str) -> range:
    """One element of a list."""
    found = _RANGE.fullmatch(text)
    if not found:
        raise ValueError(f'cannot read "{shown(text)}" as {field.name}: {field.grammar}')
    first, last, step = found.groups()
    if first and step and not last:
        raise ValueError(f'{field.name} "{shown(text)}" has a step but no range: write {first}-{field.high}/{step}')
    if step and int(step) == 0:
        raise ValueError(f'{field.name} "{shown(text)}" has a step of 0: write 1 or more')
    low = _number(field, first) if first else field.low
    high = _number(field, last) if last else low if first else field.high
    if high < low:
        # Sunday is also 7, so that fri-sun can be written; otherwise the range is two.
        mended = f"{low}-7" if field.high == 7 and high == 0 else f"{low}-{field.high},{field.low}-{high}"
        raise ValueError(
            f'{field.name} "{shown(text)}" runs backwards, so cron would never start the job: write {mended}'
        )
    return range(low, high + 1, int(step or 1))


def _number(field: Field, text: str) -> int:
    """A number or a name, within the field's bounds."""
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.low
    if not text.isdecimal() or not field.low <= int(text) <= field.high:
        raise ValueError(f'cannot read "{shown(text)}" as {field.name}: {field.grammar}')
    return int(text)
