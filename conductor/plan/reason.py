"""Why `supervise` acts on a service or leaves it alone: typed reasons, stored in its status file, and their text (pure)."""

import msgspec

from conductor.plan.release import Hold
from conductor.times import time_text


class Reason(msgspec.Struct, frozen=True, tag_field="condition"):
    """The condition of a service that explains a decision."""


class AsWanted(Reason, frozen=True, tag="as-wanted"):
    """The wanted number of replicas is healthy."""


class NeverDeployed(Reason, frozen=True, tag="never-deployed"):
    """The service has no release."""


class Paused(Reason, frozen=True, tag="paused"):
    """A person paused the service."""

    hold: Hold


class Busy(Reason, frozen=True, tag="busy"):
    """Another command holds the lock of the service."""


class Unreadable(Reason, frozen=True, tag="unreadable"):
    """The state of the service cannot be read. `error` is the sentence of the error."""

    error: str


class InterruptedChange(Reason, frozen=True, tag="interrupted-change"):
    """A change was interrupted and has to be recovered."""


class Starting(Reason, frozen=True, tag="starting"):
    """A replica is within its start timeout."""


class StoppedWithHost(Reason, frozen=True, tag="stopped-with-host"):
    """A restart of the host or of Docker stopped `count` replicas."""

    count: int


class Mismatch(Reason, frozen=True, tag="mismatch", kw_only=True):
    """The replicas differ from what is wanted. `other_release` counts those that do not belong to the live release."""

    wanted: int
    healthy: int
    starting: int = 0
    unhealthy: int = 0
    exited: int = 0
    other_release: int = 0


class WrongTraffic(Reason, frozen=True, tag="wrong-traffic"):
    """Requests do not go to exactly these endpoints yet."""

    endpoints: tuple[str, ...]


class Drifted(Reason, frozen=True, tag="drifted"):
    """The definition, or a file that it names, changed after the last deploy, and `supervise: {drift: apply}` is set."""


AnyReason = (
    AsWanted
    | NeverDeployed
    | Paused
    | Busy
    | Unreadable
    | InterruptedChange
    | Starting
    | StoppedWithHost
    | Mismatch
    | WrongTraffic
    | Drifted
)


def describe(reason: AnyReason) -> str:
    """Return a reason as human-readable text."""
    match reason:
        case Paused(hold):
            until = f" until {time_text(hold.until)}" if hold.until else ""
            return f"paused by {hold.who}{until}: {hold.reason}"
        case Unreadable(error):
            return error
        case StoppedWithHost(count):
            return f"{count} container{' was' if count == 1 else 's were'} stopped by a host or Docker restart"
        case Mismatch():
            return _mismatch(reason)
        case WrongTraffic(endpoints):
            return f"nginx must be updated to send requests only to {', '.join(endpoints)}"
        case _:
            return _TEXTS[type(reason)]


_TEXTS: dict[type[Reason], str] = {
    AsWanted: "no action needed",
    NeverDeployed: "never deployed on this host",
    Busy: "another command is changing the service",
    InterruptedChange: "a change was interrupted",
    Starting: "waiting for replicas to become healthy",
    Drifted: "the definition, or a file that it names, changed after the last deploy",
}


def _mismatch(reason: Mismatch) -> str:
    counts = [
        (reason.starting, "starting"),
        (reason.unhealthy, "unhealthy"),
        (reason.exited, "exited"),
        (reason.other_release, "from another release"),
    ]
    parts = [f"{reason.wanted} wanted, {reason.healthy} healthy", *(f"{n} {what}" for n, what in counts if n)]
    return ", ".join(parts)
