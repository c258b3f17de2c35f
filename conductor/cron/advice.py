"""Warnings about valid crontab lines that are probably mistakes. No decision depends on them (pure)."""

import re
from collections.abc import Iterator

from conductor.cron.schedule import FIELDS
from conductor.cron.words import excerpt, split_input

# A redirection to a regular file. `=>` and `->` are operators of other languages, not redirections.
_TO_FILE = re.compile(r"(?<![=-])>>?\|?\s*(?![&>|\s]|/dev/|/proc/)[^\s;&|<>()]+")
_DATE = re.compile(r"\bdate\b[^|;&]*\+[^\s%]*$")


def on_setting(name: str, value: str) -> Iterator[str]:
    """Yield the warnings about one setting."""
    if name == "TZ":
        yield "TZ is passed to the jobs, but does not change when they start"
    if name == "RANDOM_DELAY":
        yield "Debian's cron does not support RANDOM_DELAY; it starts the jobs without a delay"
    if re.search(r"\$[A-Za-z_{(]|`", value):
        yield f"cron does not expand variables in settings; {excerpt(name)} contains the text as written"
    if re.search(r"\s#", value):
        yield f"a comment cannot follow a setting; {excerpt(name)} contains the # and the text after it"


def on_job(schedule: str, command: str) -> Iterator[str]:
    """Yield the warnings about one job, from its schedule and command as written."""
    head, rest = split_input(command)
    if _TO_FILE.search(head):
        yield "output goes to a file in the container, which is removed with the container unless it is on a volume"
    if rest and _DATE.search(head):
        yield r"cron ends the command at the first %; write \% in a date format"
    if re.match(r"root[ \t]+\S", head):
        yield 'the command runs a program named "root"; a user crontab has no user column'
    for field, written in zip(FIELDS, schedule.split(), strict=False):  # a nickname such as @daily has no steps
        steps = [int(part.rpartition("/")[2]) for part in written.split(",") if "/" in part]
        if any(step > field.high - field.low for step in steps):
            step = f'step of {field.name} "{excerpt(written)}"'
            yield f"the {step} is larger than its range; only the first value matches"
