"""Human-readable text: sizes, and control characters escaped, so that the output of an app does not control a terminal."""

import re

# C0 except tab and newline, DEL and C1; line separators, and what reverses the order of the letters after it.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def size_text(size: int) -> str:
    """Return a number of bytes as human-readable text, as Docker prints sizes."""
    for unit, amount in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= amount:
            return f"{size / amount:.1f} {unit}"
    return f"{size} B"


def memory_text(used: int, limit: int | None) -> str:
    """Return used bytes and the limit, if there is one, in the same unit: `210/512 MiB`, `0.9/2.0 GiB`, `35 MiB`."""
    unit, decimals, name = (2**30, 1, "GiB") if max(used, limit or 0) >= 2**30 else (2**20, 0, "MiB")
    of = "" if limit is None else f"/{limit / unit:.{decimals}f}"
    return f"{used / unit:.{decimals}f}{of} {name}"


def printable(text: str) -> str:
    r"""Return `text` with its control characters written as `\u001b`. Tabs and newlines stay, and JSON stays valid."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
