"""What `supervise` says: one line a decision, never the same failure again and again."""

import os
import re
from pathlib import Path
from typing import Any

from conductor.output.events import Event, Warned
from conductor.output.streams import remark
from conductor.state.store import Store

INFO, WARNING = 6, 4  # sd-daemon(3)
_VARYING = re.compile(r"\b[0-9a-f]{6,}\b|\d+")


class SupervisorLog:
    """Lines on stderr, with priorities where the journal reads them; equal failures in a row are counted, not repeated."""

    def __init__(self) -> None:
        self._journal = "JOURNAL_STREAM" in os.environ
        self._failures: dict[str, tuple[str, int]] = {}

    @property
    def troubled(self) -> bool:
        """Whether something that failed is not well again."""
        return bool(self._failures)

    def say(self, text: str, priority: int = INFO) -> None:
        """One line."""
        for line in text.splitlines():
            remark(f"<{priority}>{line}" if self._journal else line)

    def acting(self, service: str, why: str) -> None:
        """What is begun now, and why; a retry of what has failed is told by how it ends."""
        if service not in self._failures:
            self.say(f"{service}: {why}: acting")

    def done(self, service: str, why: str) -> None:
        """What was begun has ended well."""
        self.say(f"{service}: done: {why}")

    def failed(self, service: str, text: str) -> None:
        """A failure: in full the first time; after that only a count, at 2, 4, 8 and so on."""
        before, times = self._failures.get(service, ("", 0))
        times = times + 1 if _same(before, text) else 1
        self._failures[service] = (text, times)
        if times == 1:
            self.say(f"{service}: {text}", WARNING)
        elif times & (times - 1) == 0:
            self.say(f"{service}: failed in the same way {times} times: {text.splitlines()[0]}", WARNING)

    def well(self, service: str) -> None:
        """As wanted again."""
        self._failures.pop(service, None)


class Warnings:
    """A reporter that tells what an action warns of, and of the same thing in a row once."""

    def __init__(self, teller: SupervisorLog, service: str) -> None:
        self._teller = teller
        self._service = service

    _last: dict[str, str] = {}  # noqa: RUF012 (one for all that are opened: one each action)

    def emit(self, event: Event) -> None:
        """Say it, if it is a warning."""
        if isinstance(event, Warned) and Warnings._last.get(self._service) != event.text:
            Warnings._last[self._service] = event.text
            self._teller.say(f"{self._service}: {event.text}", WARNING)


class QuietStore(Store):
    """A history without repetitions: of equal failures of `supervise` in a row only the first is written."""

    _last: dict[tuple[Path, str], str] = {}  # noqa: RUF012 (one for all that are opened: one each action)

    def record(self, entry: dict[str, Any]) -> None:
        """As `Store.record`."""
        key = (self.directory, str(entry.get("service")))
        said = f"{entry.get('outcome')} {entry.get('reason', '')}"
        if said == QuietStore._last.get(key) and not said.startswith("done"):
            return
        QuietStore._last[key] = said
        super().record(entry)


def _same(before: str, after: str) -> bool:
    """Names, ids and seconds differ from one attempt to the next."""
    return _shape(before) == _shape(after)


def _shape(text: str) -> str:
    return _VARYING.sub("#", text.partition("\n")[0])
