"""Decodes JSON that another program may have written: nesting that is too deep is an error like any other damage."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


def decode(data: bytes | str, shape: type[T]) -> T:
    """Return the value. Raise `msgspec.DecodeError`, also where msgspec raises `RecursionError`."""
    try:
        return msgspec.json.decode(data, type=shape)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deep") from None
