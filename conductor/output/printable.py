"""Escapes control characters, so that the output of an app does not control an operator's terminal."""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # C0 except tab and newline, DEL and C1


def printable(text: str) -> str:
    r"""Return `text` with its control characters written as `\u001b`. Tabs and newlines stay, and JSON stays valid."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
