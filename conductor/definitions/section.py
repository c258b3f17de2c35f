"""What every mapping of a definitions file is made of: its base class, and fields with a default of our own number types."""

from typing import dataclass_transform

import msgspec

from conductor.definitions.grammar import AbsolutePath
from conductor.definitions.scalars import ByteSize, Percent, Period, Seconds


def seconds(number: float) -> Seconds:
    """Return a field with a default duration, as a factory: msgspec cannot write a subclass of float into a schema."""
    return msgspec.field(default_factory=lambda: Seconds(number))


def period(number: float) -> Period:
    """Return a field with a default period."""
    return msgspec.field(default_factory=lambda: Period(number))


def percent(number: float) -> Percent:
    """Return a field with a default percentage."""
    return msgspec.field(default_factory=lambda: Percent(number))


def byte_size(number: int) -> ByteSize:
    """Return a field with a default number of bytes."""
    return msgspec.field(default_factory=lambda: ByteSize(number))


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every mapping of the file: frozen, and unknown keys are errors."""


class SecretRef(Section):
    """The file that holds a secret. Reading it drops one trailing newline."""

    file: AbsolutePath
