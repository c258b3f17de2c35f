"""How the lines of a log are printed: text with the name of the replica, or JSON."""

import itertools
import re
from collections.abc import Iterator

import msgspec

from conductor.logs.replica_log import Entry
from conductor.output.streams import has_colours, write_stdout

VERSION = 1  # of the JSON object of a line
COLOURS = ("36", "33", "32", "35", "34", "31")  # of the names, which differ without them as well


class LogPrinter:
    """Prints the lines of a service in which `pattern` is found. `found` counts them."""

    def __init__(self, service: str, pattern: re.Pattern[str] | None, *, as_json: bool) -> None:
        self.found = 0
        self._service = service
        self._pattern = pattern
        self._as_json = as_json
        self._colours: Iterator[str] | None = itertools.cycle(COLOURS) if has_colours() else None
        self._colour_of: dict[str, str] = {}
        self._width = 0

    def print(self, entry: Entry) -> bool:
        """Print a line. Return False once the reader has closed the pipe."""
        if self._pattern is not None and not self._pattern.search(entry.line.text):
            return True
        self.found += 1
        if self._as_json:
            return write_stdout(_json(self._service, entry))
        return write_stdout(entry.line.text, mark=self._mark(entry.replica.removeprefix(f"{self._service}-")))

    def _mark(self, name: str) -> str:
        self._width = max(self._width, len(name))
        text = f"{name:<{self._width}} | "
        if self._colours is None:
            return text
        return f"\x1b[{self._colour_of.setdefault(name, next(self._colours))}m{text}\x1b[0m"


def _json(service: str, entry: Entry) -> str:
    line = entry.line
    found = {
        "version": VERSION,
        "time": line.time or None,
        "service": service,
        "replica": entry.replica,
        "revision": entry.revision,
        "stream": line.stream,
        "line": line.text,
    }
    return msgspec.json.encode(found).decode()
