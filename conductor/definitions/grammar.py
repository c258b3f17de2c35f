"""What single values of a definition must look like, as annotated types.

A `Meta.description` says what a value must be: it is both the schema's description and, after "must be", the sentence
of a problem.
"""

from typing import Annotated

from msgspec import Meta

SERVICE_ID = r"^[a-z0-9][a-z0-9_-]{0,62}$"
REVISION = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"  # Docker's grammar of a tag


def matching(pattern: str, description: str) -> Meta:
    """All of a text matches; the lookahead is there because `$` alone lets a last newline through."""
    return Meta(pattern=rf"^({pattern})$(?!\n)", description=description)


# `addresses` and `nginx` are the names of other locks.
ServiceId = Annotated[
    str,
    matching(
        r"(?!(?:addresses|nginx)$)" + SERVICE_ID[1:-1],
        "1 to 63 lower-case letters, digits, _ and -, starting with a letter or digit, and not addresses or nginx",
    ),
]
Line = Annotated[str, matching(r"[^\x00-\x1f\x7f]+", "text on one line")]
AbsolutePath = Annotated[str, matching(r"/[^\x00-\x1f\x7f]*", "an absolute path")]
# What ends up inside nginx's files, a crontab or a unit: nothing that any of them would read as its own syntax.
PlainPath = Annotated[
    str, matching(r"/[A-Za-z0-9_./@+=,:~-]*", "an absolute path of letters, digits and _ . / @ + = , : ~ -")
]
Name = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", "letters, digits and _ . -, starting with a letter or digit, at most 128"
    ),
]
EnvName = Annotated[
    str, matching(r"[A-Za-z_][A-Za-z0-9_.-]*", "letters, digits and _ . -, starting with a letter or _")
]
LabelName = Annotated[
    str, matching(r"(?!conductor\.)[!-~]+", 'a label\'s name that does not start with "conductor." (our own)')
]
Port = Annotated[int, Meta(ge=1, le=65535, description="a port number, 1 to 65535")]
Count = Annotated[int, Meta(ge=0, le=1000, description="a whole number from 0 to 1000")]
Positive = Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]
Words = Annotated[tuple[str, ...], Meta(min_length=1, description="a list of words, for example [bin/web, --fast]")]
SignalName = Annotated[
    str,
    matching(
        r"SIG(HUP|INT|QUIT|ABRT|KILL|USR1|USR2|ALRM|TERM|CONT|PWR|WINCH|RTMIN(\+[0-9]{1,2})?|RTMAX(-[0-9]{1,2})?)",
        "a signal's name, for example SIGTERM or SIGQUIT",
    ),
]
Network4 = Annotated[
    str, matching(r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}", "an IPv4 network, for example 10.213.0.0/20")
]
ImageName = Annotated[
    str,
    matching(
        r"(([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?/)?"
        r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*)*",
        'an image\'s name in lower case without tag or digest, for example registry.example.com/shop (":REVISION" is added)',
    ),
]
Volume = Annotated[
    str,
    matching(
        r"(/[^:\x00-\x1f\x7f]*|[A-Za-z0-9][A-Za-z0-9_.-]+):/[^:\x00-\x1f\x7f]+(:(ro|rw))?",
        "FROM:/TO or FROM:/TO:ro, where FROM is an absolute path or a volume's name",
    ),
]
Listen = Annotated[
    str, matching(r"[A-Za-z0-9 ._:*=/\[\]-]+", 'a value of nginx\'s listen, for example "443 ssl" (no ; { } or quotes)')
]
# A backslash at the end would swallow the space or semicolon after it.
ServerName = Annotated[
    str,
    matching(
        r"""[^\s;{}"'#\x00-\x1f\x7f]*[^\s;{}"'#\x00-\x1f\x7f\\]""", "a host name without spaces, ; { } # or quotes"
    ),
]
