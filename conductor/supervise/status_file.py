"""What `supervise` thinks now, written down: for `status`, for the `supervise` that comes after it, and in a sentence for
systemd.
"""

import os
from collections.abc import Mapping
from math import ceil

from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.plan.reconcile import Decision, Leave, Past, reason
from conductor.state import files
from conductor.state.supervisor_status import Notes, ServiceNote, former_notes, notes_file
from conductor.supervise.log import SupervisorLog
from conductor.supervise.observe import Observer
from conductor.supervise.systemd import notify


class Noter:
    """Writes only what is new. `former` is what the `supervise` before this one has noted of each service."""

    def __init__(self, runtime_dir: str, clock: Clock, teller: SupervisorLog) -> None:
        self._file = notes_file(runtime_dir)
        self._clock = clock
        self._teller = teller
        self._since = clock.now()
        self._noted: Notes | None = None
        self._untils: dict[str, tuple[float, str]] = {}
        self.former = former_notes(runtime_dir)

    def note(
        self,
        decisions: Mapping[str, Decision],
        pasts: Mapping[str, Past],
        observer: Observer,
        waits_for: str,
        problem: str,
    ) -> None:
        """After a look, or one that failed: then `waits_for` says what for."""
        services = {}
        for service, past in pasts.items():
            decided = decisions.get(service, Leave("somebody else works on it"))
            if decided == Leave("as wanted") and not past.attempts:
                continue
            last = None if past.last is None else ceil(past.last + self._clock.wall() - self._clock.monotonic())
            services[service] = ServiceNote(
                why=observer.problems.get(service, reason(decided)), until=self._until(service, decided),
                attempts=past.attempts, last=last, change=past.change,
            )  # fmt: skip
        services |= {s: ServiceNote(why=why) for s, why in observer.problems.items() if s not in services}
        backing_off = sum(bool(note.until) for note in services.values())
        text = f"{len(observer.services)} services, {observer.containers} containers"
        text += f", {backing_off} backing off" if backing_off else ""
        text = f"waiting for Docker: {waits_for}" if waits_for else text
        self._write(Notes(pid=os.getpid(), since=self._since, text=text, problem=problem, services=services))

    def _write(self, notes: Notes) -> None:
        if notes == self._noted:
            return
        notify(STATUS=notes.text)
        try:
            files.write(self._file, notes)
        except ConductorError as error:
            self._teller.failed("status", error.sentence)
        else:
            self._noted = notes
            self._teller.well("status")

    def _until(self, service: str, decided: Decision) -> str:
        """In wall time, worded once, so that the notes stay the same."""
        until = decided.until if isinstance(decided, Leave) else None
        if until is None:
            self._untils.pop(service, None)
            return ""
        if self._untils.get(service, (None, ""))[0] != until:
            self._untils[service] = (until, self._clock.later(until - self._clock.monotonic()))
        return self._untils[service][1]
