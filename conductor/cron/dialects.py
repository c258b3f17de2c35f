"""Lines of other schedulers' crontabs that Debian's cron would accept with another meaning (pure).

Other dialects have a field for seconds or years, a user column, or settings in front of a schedule.
"""

import re

from conductor.cron.schedule import looks_like_field
from conductor.cron.schedule import parse as parse_schedule
from conductor.cron.words import excerpt

_SETTINGS = re.compile(
    r"""(?P<settings>(?:[A-Za-z_][A-Za-z0-9_]*=(?:'[^']*'|"[^"]*"|[^\s'"]*)[ \t]+)+)"""
    r"(?P<schedule>@[a-z]+|[^ \t]+(?:[ \t]+[^ \t]+){4})[ \t]+(?P<command>\S+)"
)
# Common names of users that are not names of programs.
_USERS = "root www-data nobody daemon apache httpd ubuntu debian admin centos ec2-user vagrant _www wwwrun deployer"
_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]*")
_PROGRAM_PATH = re.compile(r"/(?:\S*/)?s?bin/\S+")
_INTERPRETERS = "php python python3 ruby perl node java bash sh bundle rake"
# Programs and keywords whose first argument may be another program, its path, or `cd`.
_TAKE_A_PROGRAM = """. [ ash bash bundle case cat cd chmod chown chronic chrt command cp dash diff du echo env eval exec file find
flock for gosu if ionice java ksh ln ls man md5sum mv nice node nohup perl php pgrep pkill python python2 python3 rake rm rsync
ruby run-one run-parts runuser setlock setsid sh sha256sum sort source stat stdbuf strace su sudo tar tee test time timeout tini
touch type unbuffer until which while xargs zsh"""


def setting_before_schedule(line: str) -> str | None:
    """Return the problem of a line such as `TZ=UTC 0 5 * * * bin/x`, which cron reads as one setting; None for others."""
    found = _SETTINGS.match(line)
    if found is None or looks_like_field(found["command"]):
        return None
    try:
        parse_schedule(found["schedule"])
    except ValueError:
        return None
    first = excerpt(found["settings"].split("=")[0])
    return f"cron reads a line that starts with {first}= as one setting; write the setting on its own line"


def extra_column(command: str) -> str | None:
    """Return the problem of a command that starts with a sixth field or a user; None for others."""
    first, second = [*command.split(None, 2), "", ""][:2]
    if looks_like_field(first):
        return (
            f'"{excerpt(first)}" looks like a sixth field, but cron has no fields for seconds or years; '
            "write five fields (to run a program of this name, write its path)"
        )
    if second and (
        first in _USERS.split() or (_is_user_name(first) and (second == "cd" or _PROGRAM_PATH.fullmatch(second)))
    ):
        return (
            f'"{excerpt(first)}" looks like a user, but a user crontab has no user column; '
            "remove it (to run a program of this name, write its path)"
        )
    return None


def may_have_user(command: str) -> bool:
    """Return whether the command probably starts with a user: a name that is followed by an interpreter."""
    first, second = [*command.split(None, 2), "", ""][:2]
    return _is_user_name(first) and second in _INTERPRETERS.split()


def _is_user_name(word: str) -> bool:
    return _USER_NAME.fullmatch(word) is not None and word not in _TAKE_A_PROGRAM.split()
