"""Warnings about valid crontab lines that are probably mistakes. No decision depends on them (pure)."""

import re
from collections.abc import Iterator

from conductor.cron import dialects
from conductor.cron.schedule import FIELDS
from conductor.cron.shell_syntax import in_background, layers, runs
from conductor.cron.words import excerpt, split_input, unescape

# A redirection to a regular file. `=>` and `->` are operators of other languages, not redirections.
_TO_FILE = re.compile(r"(?<![=-])>>?\|?\s*(?![&>|\s]|/dev/|/proc/)[^\s;&|<>()]+")
_DATE = re.compile(r"\bdate\b[^|;&]*\+[^\s%]*$")

_PID_FILE = re.compile(r"--?pid-?file\b|/run/\S+\.pid\b")
# Programs that work on a full host, but not in the container of one job.
_OF_THE_HOST = {
    "flock|setlock|lockf|lockfile|run-one|solo": (
        "a lock in the container has no effect, because each run has its own container; "
        "write overlap: skip under cron: in the definition (a lock on a volume works)"
    ),
    "nohup|setsid": "the container exits when its command does; run the command in the foreground",
    "sudo|su": "the container has its own users; write user: in the definition",
    "systemctl|service|invoke-rc.d": "there is no init system in the container, so services cannot be controlled there",
    "docker|docker-compose|podman|crontab": "the container cannot access Docker or cron on the host",
}


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


def on_job(schedule: str, command: str, shell: str) -> Iterator[str]:
    """Yield the warnings about one job, from its schedule and command as written, and the table's shell."""
    head, rest = split_input(command)
    text = unescape(head)
    read = tuple(layers(text, shell))
    yield from (sentence for names, sentence in _OF_THE_HOST.items() if runs(names, read))
    if in_background(read):
        yield "the container exits when its command does, which kills background commands; remove the &, or add wait"
    if _PID_FILE.search(text):
        yield "a pid file in the container is removed with the container; write overlap: skip under cron: in the definition"
    if found := re.search(r"\$\{?(USER|LOGNAME)\b", text):
        yield f"cron's {found[1]} is not passed to the container; write the name, or set it in env"
    if dialects.may_have_user(command):
        yield f'the command runs a program named "{excerpt(command.split(maxsplit=1)[0])}"; a user crontab has no user column'
    if _TO_FILE.search(head):
        yield "output goes to a file in the container, which is removed with the container unless it is on a volume"
    if rest and _DATE.search(head):
        yield r"cron ends the command at the first %; write \% in a date format"
    for field, written in zip(FIELDS, schedule.split(), strict=False):  # a nickname such as @daily has no steps
        steps = [int(part.rpartition("/")[2]) for part in written.split(",") if "/" in part]
        if any(step > field.high - field.low for step in steps):
            step = f'step of {field.name} "{excerpt(written)}"'
            yield f"the {step} is larger than its range; only the first value matches"
