"""What is legal in a crontab and likely not meant: sentences for people, nothing is decided from them (pure)."""

import re
from collections.abc import Iterator

from conductor.cron.schedule import FIELDS
from conductor.cron.words import shown, split

# To a file that is one, and not to the container's log. `=>` and `->` are other languages' own.
_TO_FILE = re.compile(r"(?<![=-])>>?\|?\s*(?![&>|\s]|/dev/|/proc/)[^\s;&|<>()]+")
_DATE = re.compile(r"\bdate\b[^|;&]*\+[^\s%]*$")


def on_setting(name: str, value: str) -> Iterator[str]:
    """Sentences about one setting."""
    if name == "TZ":
        yield "TZ is given to the jobs, but does not change when they start"
    if name == "RANDOM_DELAY":
        yield "Debian's cron does not know RANDOM_DELAY and starts jobs without a delay"
    if re.search(r"\$[A-Za-z_{(]|`", value):
        yield f"cron expands nothing in a setting: {shown(name)} holds the text as it is written"
    if re.search(r"\s#", value):
        yield f"a comment cannot follow a setting: {shown(name)} holds the # and what follows it"


def on_job(schedule: str, command: str) -> Iterator[str]:
    """Sentences about one job, as it is written."""
    head, rest = split(command)
    if _TO_FILE.search(head):
        yield "writes its output to a file in the container, which goes with it unless a volume is there"
    if rest and _DATE.search(head):
        yield r"cron ends the command at its first %: write \% where date shall see a %"
    if re.match(r"root[ \t]+\S", head):
        yield 'starts a program named "root": a user crontab has no column for a user'
    for field, written in zip(FIELDS, schedule.split(), strict=False):  # a nickname has no steps
        steps = [int(part.rpartition("/")[2]) for part in written.split(",") if "/" in part]
        if any(step > field.high - field.low for step in steps):
            yield f'the step of {field.name} "{shown(written)}" is longer than the field: only its first value counts'
