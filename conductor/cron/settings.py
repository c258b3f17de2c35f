"""A crontab's NAME=VALUE lines, read as Debian's cron does (`load_env` in env.c), and what of them is refused (pure)."""

import re

from conductor.cron.words import shown

LONGEST_BYTES = 998  # of a setting's line; cron cuts the rest off without a word. Commands have the same limit.

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
    """Name and value as cron sets them, or None for a line that cron takes for a job. `line` has no blanks in front.

    Beyond its first pair of quotes cron takes blanks off the value's end, and then a second pair of quotes.
    """
    found = _SETTING.fullmatch(line)
    if not found:
        return None
    value = _written(found).rstrip(_SPACE)
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    return found["n1"] or found["n2"] or found["n3"] or "", value


def too_long(line: str) -> bool:
    """Whether cron would take the line, or what it sees of it, for a setting, and not see all of it."""
    data = line.encode()
    return len(data) > LONGEST_BYTES and bool(read(line) or read(data[:LONGEST_BYTES].decode(errors="replace")))


def problem(line: str) -> str:
    """Why a line that `read` takes is refused, with what to write instead; empty when it is fine."""
    found, setting = _SETTING.fullmatch(line), read(line)
    if found is None or setting is None:
        return ""
    name, value = setting
    if not _NAME.fullmatch(name):
        return (
            'cron takes this for a setting, because "=" follows its first word: '
            "write a name of letters, digits and _, or a schedule of five fields"
        )
    if name == "CRON_TZ":
        return "Debian's cron does not know CRON_TZ, so jobs would start by the host's clock: write their times in that"
    if name == "LOGNAME":
        return "cron sets LOGNAME itself, over this: leave the line out"
    if name == "SHELL" and not _PATH.fullmatch(value):
        return "SHELL must be the path of a shell and nothing else: write SHELL=/bin/bash"
    if name == "HOME" and not value.startswith("/"):
        return "HOME must be an absolute path: write HOME=/app"
    if value != _written(found):
        return f"cron takes quotes and blanks off inside the quotes of {shown(name)} too: write a value without them"
    return ""


def mistaken(line: str) -> str:
    """What to write instead of a line that was meant as a setting and is none; empty when it was not meant so."""
    if _EMPTY.fullmatch(line):
        return f'cron refuses a setting without a value: write {shown(line.partition("=")[0].strip())}=""'
    if found := _EXPORT.fullmatch(line):
        return f"cron knows no export: write {shown(found[1])}=VALUE"
    if re.match(r"[A-Za-z_][A-Za-z0-9_]*[ \t]*=", line):
        return "cron cannot read this setting: put the whole value between two quotes that it does not hold itself"
    return ""


def _written(found: re.Match[str]) -> str:
    """The value between its quotes, or without quotes less the blanks at its end."""
    quoted = found["v1"] if found["v1"] is not None else found["v2"]
    return quoted if quoted is not None else found["v3"].rstrip(_SPACE)
