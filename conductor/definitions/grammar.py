"""Annotated types for single values of a definition.

A `Meta.description` is a noun phrase for what the value must be. It is the description in the JSON Schema, and the
problem sentence is "must be" followed by it.
"""

from typing import Annotated

from msgspec import Meta

SERVICE_ID = r"^[a-z0-9][a-z0-9_-]{0,62}$"
REVISION = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"  # Docker's grammar of a tag


def tmpfs_mount(written: str) -> tuple[str, str]:
    """Return the path of a `tmpfs` value and its mount options, which may be empty."""
    path, _, options = written.partition(":")
    return path, options


def matching(pattern: str, description: str) -> Meta:
    """Return a constraint that the whole text matches. The lookahead is needed because `$` allows a final newline."""
    return Meta(pattern=rf"^({pattern})$(?!\n)", description=description)


# Locks are named after services; `addresses` and `nginx` are the names of two other locks.
ServiceId = Annotated[
    str,
    matching(
        r"(?!(?:addresses|nginx)$)" + SERVICE_ID[1:-1],
        "1 to 63 lower-case letters, digits, _ and -, starting with a letter or digit, but not addresses or nginx",
    ),
]
SingleLine = Annotated[str, matching(r"[^\x00-\x1f\x7f]+", "text on one line")]
AbsolutePath = Annotated[str, matching(r"/[^\x00-\x1f\x7f]*", "an absolute path")]
# A path that is written into nginx files, crontabs or units: no character has a meaning in their syntax.
PlainPath = Annotated[
    str, matching(r"/[A-Za-z0-9_./@+=,:~-]*", "an absolute path of letters, digits and _ . / @ + = , : ~ -")
]
Name = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", "letters, digits and _ . -, starting with a letter or digit, at most 128"
    ),
]
# Docker's own rule: apps read names such as ConnectionStrings:Default.
EnvName = Annotated[str, matching(r"[^=\s\x00-\x1f\x7f]+", "a name without = or spaces")]
LabelName = Annotated[
    str, matching(r"(?!conductor\.)[!-~]+", 'a label name that does not start with "conductor.", which is reserved')
]
Port = Annotated[int, Meta(ge=1, le=65535, description="a port number from 1 to 65535")]
Count = Annotated[int, Meta(ge=0, le=1000, description="a whole number from 0 to 1000")]
Positive = Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]
Command = Annotated[
    tuple[str, ...], Meta(min_length=1, description="a command as a list, for example [bin/web, --fast]")
]
SignalName = Annotated[
    str,
    matching(
        r"SIG(HUP|INT|QUIT|ABRT|KILL|USR1|USR2|ALRM|TERM|CONT|PWR|WINCH|RTMIN(\+[0-9]{1,2})?|RTMAX(-[0-9]{1,2})?)",
        "a signal name, for example SIGTERM or SIGQUIT",
    ),
]
IPv4Network = Annotated[
    str, matching(r"[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}", "an IPv4 network, for example 10.213.0.0/20")
]
ImageName = Annotated[
    str,
    matching(
        r"(([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?/)?"
        r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*)*",
        "an image name in lower case without a tag or digest, for example registry.example.com/shop "
        '(Conductor adds ":REVISION")',
    ),
]
HeaderName = Annotated[str, matching(r"[!#$%&'*+.^_`|~A-Za-z0-9-]+", "the name of an HTTP header")]
HeaderValue = Annotated[str, matching(r"[ -~]*", "text of printable ASCII characters")]
# 1xx is never the final status of a response.
Status = Annotated[
    str, matching(r"[2-5][0-9]{2}(-[2-5][0-9]{2})?", 'an HTTP status from 200 to 599, or a range such as "300-399"')
]


def status_range(written: str) -> tuple[int, int]:
    """Return the first and the last status of a `Status`."""
    first, _, last = written.partition("-")
    return int(first), int(last or first)


_SOURCE_PATH = r"/[^:\x00-\x1f\x7f]*"
_VOLUME_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]+"
_PROPAGATION = r"r?(shared|slave|private)"
Volume = Annotated[
    str,
    matching(
        rf"({_SOURCE_PATH}|{_VOLUME_NAME}):/[^:\x00-\x1f\x7f]+(:(ro|rw))?"
        rf"|{_SOURCE_PATH}:/[^:\x00-\x1f\x7f]+:((ro|rw),)?{_PROPAGATION}"
        rf"|{_VOLUME_NAME}:/[^:\x00-\x1f\x7f]+:((ro|rw),)?nocopy",
        "SOURCE:/TARGET or SOURCE:/TARGET:OPTIONS, where SOURCE is an absolute path or a volume name; OPTIONS are ro "
        "or rw, nocopy (named volumes only) or a propagation mode such as rslave (paths only), for example ro,rslave",
    ),
]
MountSource = Annotated[str, matching(rf"{_VOLUME_NAME}|/[^\x00-\x1f\x7f]*", "an absolute path or a volume name")]
Propagation = Annotated[str, matching(_PROPAGATION, "one of shared, slave, private, rshared, rslave, rprivate")]
Device = Annotated[
    str,
    matching(
        r"/dev/[^:\x00-\x1f\x7f]+(:/[^:\x00-\x1f\x7f]+)?(:(rwm|rw|rm|wm|r|w|m))?",
        "a device as /dev/NAME, /dev/NAME:/dev/TARGET or /dev/NAME:/dev/TARGET:rwm",
    ),
]
# Docker's program reads a seccomp profile from a file and sends its contents. The API itself knows only `unconfined`.
SecurityOpt = Annotated[
    str,
    matching(
        r"no-new-privileges([:=](true|false))?|seccomp[:=]unconfined|apparmor[:=][!-~]+|label[:=][!-~]+",
        "one of no-new-privileges, seccomp=unconfined, apparmor=PROFILE and label=OPTION",
    ),
]
SysctlName = Annotated[
    str,
    matching(
        r"(net|fs\.mqueue)(\.[A-Za-z0-9_-]+)+|kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)",
        "a setting that is separate in each container: net.*, fs.mqueue.*, kernel.msg*, kernel.sem or kernel.shm*",
    ),
]
Hostname = Annotated[
    str,
    matching(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", "a host name of at most 63 letters, digits, - and ."),
]
# A container with an address cannot use the host's network, and `none` is the absence of networks.
NetworkName = Annotated[
    str,
    matching(
        r"(?!(?:host|none)$)[A-Za-z0-9][A-Za-z0-9_.-]{0,127}",
        "the name of an existing Docker network other than host and none",
    ),
]
Tmpfs = Annotated[
    str,
    matching(
        r"/[^:\x00-\x1f\x7f]*(:{0}(,{0})*)?".format(
            r"(ro|rw|(no)?(exec|suid|dev|atime|diratime)|a?sync"
            r"|(size|nr_blocks|nr_inodes)=[0-9]+[kKmMgG%]?|mode=[0-7]{3,4}|[ug]id=[0-9]+)"
        ),
        "an absolute path, or one with mount options, for example /cache:size=64m,mode=1777",
    ),
]
WebhookUrl = Annotated[
    str,
    matching(
        r"https?://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][!-\"$-~]*)?",
        "an http:// or https:// URL without a user name, or {file: PATH} if the URL is a secret",
    ),
]
Listen = Annotated[
    str,
    matching(
        r"[A-Za-z0-9 ._:*=/\[\]-]+", 'a value of nginx\'s listen directive, for example "443 ssl" (no ; { } or quotes)'
    ),
]
# A final backslash would escape the space or semicolon that follows the name in nginx's file.
ServerName = Annotated[
    str,
    matching(
        r"""[^\s;{}"'#\x00-\x1f\x7f]*[^\s;{}"'#\x00-\x1f\x7f\\]""", "a host name without spaces, ; { } # or quotes"
    ),
]
