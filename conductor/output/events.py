"""The events of an action. Every printer receives the same stream of them."""

import msgspec


class ServiceResult(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What an action did to one service. `changed` is False when there was nothing to do; `from` and `to` are revisions."""

    service: str
    action: str
    changed: bool
    from_: str | None = None
    to: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """What all events have: when (RFC 3339, UTC), and the change and services they belong to, where there are any."""

    time: str = ""
    change: str = ""
    service_ids: tuple[str, ...] = ()


class StepStarted(Event, frozen=True, tag="step-started"):
    """A step began. `text` describes it."""

    step: str
    text: str


class Progress(Event, frozen=True, tag="progress"):
    """What a step is waiting for."""

    step: str
    text: str


class DrainProgress(Progress, frozen=True, tag="progress"):
    """What a drain is waiting for: `requests` in old replicas, and client `connections` without one that may still send one.

    At the latest, the drain ends in `seconds_left`.
    """

    requests: int
    connections: int
    seconds_left: float


class StepFinished(Event, frozen=True, tag="step-finished"):
    """A step is done."""

    step: str
    seconds: float


class Removed(Event, frozen=True, tag="removed"):
    """`gc` removed something. `service` is empty for what belongs to the host. `bytes` is what that frees at most."""

    kind: str
    service: str
    name: str
    bytes: int


class Notice(Event, frozen=True, tag="notice"):
    """A human-readable line."""

    text: str


class Warned(Event, frozen=True, tag="warning"):
    """Something is done, but needs attention. Warnings are counted at the end."""

    text: str


class Failed(Event, frozen=True, tag="failed"):
    """The action failed: a sentence, details, one hint, and the exit code."""

    error: str
    details: tuple[str, ...]
    hint: str
    exit_code: int
    services: tuple[ServiceResult, ...] = ()


class Finished(Event, frozen=True, tag="finished"):
    """The action is done. `text` is its last line, `seconds` its duration."""

    text: str
    seconds: float
    warnings: int = 0
    exit_code: int = 0
    services: tuple[ServiceResult, ...] = ()
