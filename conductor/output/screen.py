"""Lines on a terminal that are redrawn in place. No mode of the terminal is changed, so nothing has to be restored."""

import contextlib
import os
import textwrap
from collections.abc import Sequence
from typing import TextIO

from conductor.output.printable import printable

DEFAULT_SIZE = os.terminal_size((80, 24))  # where the terminal does not know its size


def terminal_size(stream: TextIO) -> os.terminal_size:
    """Return the size of the terminal behind `stream`, or of a usual one if it is no terminal."""
    with contextlib.suppress(OSError, ValueError):
        size = os.get_terminal_size(stream.fileno())
        if size.columns and size.lines:
            return size
    return DEFAULT_SIZE


def can_redraw(stream: TextIO) -> bool:
    """Return whether `stream` is a terminal whose cursor can be moved."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def fitted(lines: Sequence[str], size: os.terminal_size) -> list[str]:
    """Return the lines wrapped to the width, without those for which there is no room; the last line then counts them."""
    width = size.columns - 1  # in the last column some terminals wrap, others do not
    shown: list[str] = []
    for line in (part.expandtabs() for one in lines for part in printable(one).split("\n")):
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        shown += textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
    room = max(2, size.lines - 1)
    if len(shown) <= room:
        return shown
    return [*shown[: room - 1], f"… {len(shown) - room + 1} more lines do not fit"[:width]]


class Screen:
    """Draws lines over the ones that it drew before, where the cursor was at first."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0  # lines
        self._size = terminal_size(stream)

    @property
    def width(self) -> int:
        """The number of characters that fit into a line now."""
        return terminal_size(self._stream).columns - 1

    def draw(self, lines: Sequence[str]) -> bool:
        """Replace the lines. Return False when the terminal is gone."""
        size = terminal_size(self._stream)
        back = f"\r\x1b[{self._drawn}A" if self._drawn else "\r"
        if size != self._size:  # the terminal may have wrapped the old lines again, so their number is not known
            back = "\x1b[H\x1b[2J"
        shown = fitted(lines, size)
        self._drawn, self._size = len(shown), size
        return self._write(back + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J")

    def end(self) -> None:
        """Erase what the terminal shows for Ctrl-C. The last lines stay."""
        self._write("\r\x1b[K")

    def _write(self, text: str) -> bool:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            return False
        return True
