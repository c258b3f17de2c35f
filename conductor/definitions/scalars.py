"""Scalar types of a definition: durations, sizes, percentages and secrets."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Self

DURATION = r"[0-9]{1,12}(\.[0-9]{1,20})?(ms|s|m|h|d)?"
PERCENT = r"[0-9]{1,3}(\.[0-9]{1,2})?%?"
SIZE = r"[0-9]{1,19}(\.[0-9]{1,20})?(B|[kKMGT]B|[KMGT]iB|[kKmMgG])?"
_NUMBER_AND_UNIT = re.compile(r"([0-9.]+)([a-zA-Z]*)")
_DURATION_UNITS: Mapping[str, Decimal | int] = {"ms": Decimal("0.001"), "s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
_SIZE_UNITS = {
    "": 1, "B": 1,
    "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
    "k": 2**10, "K": 2**10, "m": 2**20, "M": 2**20, "g": 2**30, "G": 2**30,  # the same as in Docker
}  # fmt: skip
_MAX_SECONDS = 3650 * 86400  # ten years; timers overflow with much longer ones
_MAX_BYTES = 2**60


def _amount(written: object, grammar: str, units: Mapping[str, Decimal | int]) -> Decimal | None:
    text = "" if isinstance(written, bool) else str(written).strip()
    match = _NUMBER_AND_UNIT.fullmatch(text) if re.fullmatch(grammar, text) else None
    return Decimal(match[1]) * units[match[2]] if match else None


class Seconds(float):
    """A duration in seconds; written `30s`, `1500ms`, `2m`, `1h`, or a bare number of seconds."""

    __slots__ = ()

    @classmethod
    def parse(cls, written: object) -> Self:
        """Return the value as written in a file. Raise `ValueError` with what to write instead."""
        amount = _amount(written, DURATION, _DURATION_UNITS)
        if amount is None:
            raise ValueError("must be a duration, for example 30s, 1500ms or 2m")
        if amount > _MAX_SECONDS:
            raise ValueError("must be at most 3650d")
        return cls(round(amount, 9))

    @property
    def text(self) -> str:
        """The value as written in a file; `parse` returns the same value."""
        milliseconds = round(Decimal(self) * 1000, 6)
        for unit, amount in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
            if milliseconds % amount == 0 and milliseconds >= amount:
                return f"{int(milliseconds // amount)}{unit}"
        return f"{milliseconds / 1000:f}s"


class Period(Seconds):
    """A duration longer than 0."""

    __slots__ = ()

    @classmethod
    def parse(cls, written: object) -> Self:
        """Return the value as written in a file. Raise `ValueError` with what to write instead, even for 0."""
        period = super().parse(written)
        if not period:
            raise ValueError("must be a duration longer than 0, for example 30s, 1500ms or 2m")
        return period


class ByteSize(int):
    """A size in bytes; written `512MiB`, `20MB`, `1g` (Docker's letters are powers of 1024), or bare bytes."""

    __slots__ = ()

    @classmethod
    def parse(cls, written: object) -> Self:
        """Return the value as written in a file. Raise `ValueError` with what to write instead."""
        amount = _amount(written, SIZE, _SIZE_UNITS)
        if amount is None:
            raise ValueError("must be a size, for example 512MiB or 1GiB")
        if amount > _MAX_BYTES:
            raise ValueError("must be at most 1048576TiB")
        return cls(int(amount))

    @property
    def text(self) -> str:
        """The value as written in a file; `parse` returns the same value."""
        for unit in ("GiB", "MiB", "KiB"):
            if self and self % _SIZE_UNITS[unit] == 0:
                return f"{self // _SIZE_UNITS[unit]}{unit}"
        return f"{int(self)}B"


class Percent(float):
    """A percentage from 0 to 100; written `10%`, or a bare number."""

    __slots__ = ()

    @classmethod
    def parse(cls, written: object) -> Self:
        """Return the value as written in a file. Raise `ValueError` with what to write instead."""
        text = str(written).strip()
        if not re.fullmatch(PERCENT, text) or float(text.rstrip("%")) > 100:
            raise ValueError("must be a percentage from 0% to 100%, for example 10%")
        return cls(text.rstrip("%"))

    @property
    def text(self) -> str:
        """The value as written in a file; `parse` returns the same value."""
        return f"{self:g}%"


class Secret:
    """A text that is printed redacted. Only `reveal()` returns the text itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "[secret]"

    def reveal(self) -> str:
        """The text itself."""
        return self._text
