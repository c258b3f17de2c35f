"""Read a crontab's NAME=VALUE lines as Debian's cron does (`load_env` in env.c), and find their problems (pure)."""

import re

from conductor.cron.words import excerpt

MAX_BYTES = 998  # of the line of a setting; cron cuts off the rest without a message

# Cron's isspace() is the ASCII one, as are its digits and letters.
_SETTING = re.compile(
    r"""(?:'(?P<n1>[^'=]*)'|"(?P<n2>[^"=]*)"|(?P<n3>[^\s'"=][^\s=]*)?)\s*=\s*"""
    r"""(?:'(?P<v1>[^']*)'\s*|"(?P<v2>[^"]*)"\s*|(?P<v3>[^\s'"].*))""",
    re.ASCII | re.DOTALL,
)
_SPACE = " \t\n\v\f\r"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATH = re.compile(r"/[A-Za-z0-9_./+-]+")
_EMPTY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*[ \t]*=[ \t]*")
_EXPORT = re.compile(r"export[ \t]+([A-Za-z_][A-Za-z0-9_]*)=.*", re.DOTALL)


def read(line: str) -> tuple[str, str] | None:
    """Return the name and value that cron sets, or None for a line that cron reads as a job.

    `line` has no leading blanks. After the outer quotes, cron also removes trailing blanks and a second pair of quotes.
    """
    found = _SETTING.fullmatch(line)
    if not found:
        return None
    value = _written_value(found).rstrip(_SPACE)
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    return found["n1"] or found["n2"] or found["n3"] or "", value


def too_long(line: str) -> bool:
    """Return whether the line is too long for a setting and cron reads it, or the part that it keeps, as one."""
    data = line.encode()
    return len(data) > MAX_BYTES and bool(read(line) or read(data[:MAX_BYTES].decode(errors="replace")))


def problem(line: str) -> str | None:
    """Return the problem of a line that cron reads as a setting, with what to write instead; None if it has none."""
    found, setting = _SETTING.fullmatch(line), read(line)
    if found is None or setting is None:
        return None
    name, value = setting
    if not _NAME.fullmatch(name):
        return (
            'cron reads this line as a setting, because "=" follows the first word; '
            "write a name of letters, digits and _, or a schedule of five fields"
        )
    if name == "CRON_TZ":
        return "Debian's cron does not support CRON_TZ; remove it, and write the schedules in the host's time zone"
    if name == "LOGNAME":
        return "cron sets LOGNAME itself and ignores this value; remove the line"
    if name == "SHELL" and not _PATH.fullmatch(value):
        return "SHELL must be the path of a shell, without arguments; write, for example, SHELL=/bin/bash"
    if name == "HOME" and not value.startswith("/"):
        return "HOME must be an absolute path; write, for example, HOME=/app"
    if value != _written_value(found):
        removed = f"quotes and trailing blanks inside the quotes of {excerpt(name)}"
        return f"cron also removes {removed}; write a value without them"
    return None


def malformed(line: str) -> str | None:
    """Return the problem of a line that looks like a setting but is none to cron; None if it does not look like one."""
    if _EMPTY.fullmatch(line):
        return f'cron rejects a setting without a value; write {excerpt(line.partition("=")[0].strip())}=""'
    if found := _EXPORT.fullmatch(line):
        return f"cron does not support export; write {excerpt(found[1])}=VALUE"
    if re.match(r"[A-Za-z_][A-Za-z0-9_]*[ \t]*=", line):
        return (
            "cron cannot parse this setting; put the whole value in one pair of quotes that the value does not contain"
        )
    return None


def _written_value(found: re.Match[str]) -> str:
    """Return the value inside its quotes, or without quotes and trailing blanks."""
    quoted = found["v1"] if found["v1"] is not None else found["v2"]
    return quoted if quoted is not None else found["v3"].rstrip(_SPACE)
