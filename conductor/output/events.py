"""What happens during an action, as values; one stream of these feeds every printer."""

import msgspec


class Event(msgspec.Struct, frozen=True, tag_field="event", tag=str.lower):
    """What every event has: nothing but its name."""


class Began(Event, frozen=True):
    """A step of an action began; `text` says what it does and why."""

    step: str
    text: str


class Waiting(Event, frozen=True):
    """What a step waits for right now."""

    step: str
    text: str


class Ended(Event, frozen=True):
    """A step ended well."""

    step: str
    seconds: float
    text: str = ""


class Told(Event, frozen=True):
    """Something worth a line."""

    text: str


class Warned(Event, frozen=True):
    """Done, but not quite as it should be; counted at the end."""

    text: str


class Failed(Event, frozen=True):
    """An action failed: a sentence, lines of detail, and what to do next."""

    text: str
    details: tuple[str, ...]
    hint: str
    exit_code: int


class Finished(Event, frozen=True):
    """An action is done."""

    text: str
    seconds: float
    warnings: int
    exit_code: int
