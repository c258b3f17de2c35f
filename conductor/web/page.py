"""The page as parts: HTML by the id of the element that contains it. The first answer has all of them, an event the changed ones.

A part that has not changed is the same text, and so ages are coarse: `3m`, not `3m12s`.
"""

import functools
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby
from typing import Any, get_args

import jinja2
import msgspec

from conductor.clock import seconds_between
from conductor.output.printable import memory_text
from conductor.plan.history import FINISHED, HistoryEntry, Outcome
from conductor.plan.journal import ChangeAction
from conductor.snapshot.actions import seconds_taken, who_text
from conductor.snapshot.model import JobRow, JobState, ReplicaSnapshot, ServiceSnapshot
from conductor.snapshot.notes import InMaintenance, Note, Paused, Stopped, Supervise, needs_operator
from conductor.snapshot.published import Change, Published, PublishedLog
from conductor.snapshot.rows import CheckOutcome, ServiceCondition
from conductor.snapshot.status_text import nginx_text
from conductor.times import duration_text, time_text
from conductor.web.source import Condition, View

SHORT = 12  # characters of a revision
TIMELINE = 20  # entries of the history
HELD = {ServiceCondition.STOPPED, ServiceCondition.MAINTENANCE, ServiceCondition.PAUSED}
CREATED = "created"  # Docker's word for a container that is about to be started
DOWN = {ServiceCondition.DAMAGED_STATE, ServiceCondition.TRAFFIC_DOWN}
RUNNING_JOBS = {JobState.RUNNING, JobState.NEVER}
SYMBOLS = {"ok": "✓", "busy": "↻", "warn": "!", "bad": "✕", "held": "‖", "idle": "○"}  # a level is more than a colour


@functools.cache
def templates() -> jinja2.Environment:
    """Return the environment of the templates. Everything is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("conductor", "templates/web"), undefined=jinja2.StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "age": age, "time": time_text, "duration": duration_text, "short": lambda text: (text or "-")[:SHORT],
        "runs": equal_runs, "memory": memory_text, "size": lambda size: f"{size / 2**30:.1f} GiB", "seconds": taken,
        "who": lambda entry: who_text(entry.who, entry.command),
    }  # fmt: skip
    environment.globals |= {"SYMBOLS": SYMBOLS, "reason": reason, "replica_level": replica_level, "nginx_text": nginx_text,
                            "job_level": job_level, "entry_level": entry_level, "progress": progress}  # fmt: skip
    return environment


class Run(msgspec.Struct, frozen=True):
    """Equal health checks in a row: where they begin, how many there are."""

    kind: str
    at: int
    count: int


KINDS = {"+": "ok", "-": "bad", "?": "idle"}


def equal_runs(checks: str) -> Sequence[Run]:
    """Return the runs of equal results in the last checks of a replica."""
    runs, at = [], 0
    for result, equal in groupby(checks):
        count = len(list(equal))
        runs.append(Run(KINDS.get(result, "idle"), at, count))
        at += count
    return runs


def age(stamp: str, now: str) -> str:
    """Return how long ago a time was, in its largest unit: `under 1m`, `3m`, `5h`, `2d`."""
    try:
        seconds = seconds_between(stamp, now)
    except ValueError:
        return "?"
    unit, size = next(((u, s) for u, s in (("d", 86400), ("h", 3600), ("m", 60)) if seconds >= s), ("", 1))
    return f"{int(seconds // size)}{unit}" if unit else "under 1m"


def taken(entry: HistoryEntry) -> float | None:
    """Return how long an action took, in seconds; None when that is not known."""
    try:
        return seconds_taken(entry)
    except ValueError:  # from a damaged history
        return None


def level(service: ServiceSnapshot, changing: bool) -> str:
    """Return how bad the condition of a service is, as a key of `SYMBOLS`."""
    if service.condition in HELD:
        return "held"
    if service.condition is ServiceCondition.NEVER_DEPLOYED:
        return "idle"
    if service.condition in DOWN or (service.wanted and not service.healthy):
        return "bad"
    if changing:
        return "busy"
    trouble = service.condition is not ServiceCondition.OK or any(needs_operator(note) for note in service.notes)
    return "warn" if trouble else "ok"


def reason(service: ServiceSnapshot) -> str:
    """Return the note that says why a service is not ok; empty if none does."""
    return next((note.text for is_reason in _REASONS for note in service.notes if is_reason(note)), "")


_REASONS: Sequence[Callable[[Note], bool]] = (
    lambda note: isinstance(note, Stopped | Paused | InMaintenance),
    needs_operator,
    lambda note: isinstance(note, Supervise),
)


def replica_level(replica: ReplicaSnapshot) -> str:
    """Return the level of one replica."""
    if replica.state == CREATED or (replica.is_running and replica.health is CheckOutcome.STARTING):
        return "busy"
    if not replica.is_running or replica.health is CheckOutcome.UNHEALTHY:
        return "bad"
    return "warn" if replica.health is CheckOutcome.UNKNOWN else "ok"


def job_level(job: JobRow) -> str:
    """Return the level of the last run of a cron job."""
    if job.state in RUNNING_JOBS:
        return "busy" if job.state is JobState.RUNNING else "idle"
    return "bad" if job.state is not JobState.DONE or job.exit_code else "ok"


def entry_level(entry: HistoryEntry) -> str:
    """Return the level of an entry of the history."""
    if entry.outcome is Outcome.STARTED:
        return "busy"
    return "ok" if entry.outcome in FINISHED and not entry.exit_code else "bad"


CHANGES: Collection[str] = {*get_args(ChangeAction), "restart-exited", "start-again", "reroute", "pause", "resume"}


_Rendered = dict[tuple[str, str | None], tuple[object, tuple[str, str]]]


def part_names(parts: Iterable[str]) -> str:
    """Return a short text that differs for pages with other parts: an event replaces parts, and cannot add one."""
    return f"{zlib.crc32(' '.join(parts).encode()):x}"


class Pages:
    """Renders the pages of one view. `log` returns the log lines of a service, if they are published.

    Of a service that is as in the view `before`, the text is used again.
    """

    def __init__(self, view: View, log: Callable[[str], PublishedLog | None], before: "Pages | None" = None) -> None:
        self.view = view
        self._log = log
        self._before: _Rendered = before._services if before is not None else {}
        self._services: _Rendered = {}
        self._parts: Any = templates().get_template("parts.html.j2").module
        self._known: dict[str | None, dict[str, str]] = {}

    def services(self) -> Sequence[str]:
        """Return the ids of all services."""
        status = self.view.status
        return [] if status is None else [one.service for one in status.services]

    def parts(self, service: str | None) -> dict[str, str]:
        """Return the parts of the page of one service, or of the host."""
        if service not in self._known:
            self._known[service] = dict(self._rendered(service))
        return self._known[service]

    def html(self, service: str | None) -> str:
        """Return the whole page of one service, or of the host."""
        template = templates().get_template("service.html.j2" if service else "host.html.j2")
        return template.render(
            parts=(parts := self.parts(service)), names=part_names(parts), view=self.view, services=[service] if service else self.services(), service=service,
            machine=self.view.document.machine.name if self.view.document else "",
        )  # fmt: skip

    def _rendered(self, only: str | None) -> Iterable[tuple[str, str]]:
        view, parts = self.view, self._parts
        document, status = view.document, view.status
        if document is None or status is None:
            yield "headline", parts.problem(view)
            return
        now = document.written
        changing = {service for change in document.changes if change.running for service in change.services}
        shown = [one for one in status.services if only in {None, one.service}]
        if only is not None and not shown:  # it is gone since the page was opened
            return
        levels = {one.service: level(one, one.service in changing) for one in status.services}
        troubled = [one for one in shown if levels[one.service] in {"bad", "warn"}]
        held = [one for one in shown if levels[one.service] == "held"]
        worst = _worst(view, {levels[one.service] for one in shown})
        yield "headline", parts.headline(view, document, shown, troubled, held, levels, only, worst)
        changes = [one for one in document.changes if only is None or only in one.services]
        yield "changes", parts.changes(changes, now)
        for one in shown:
            service, replicas = self._service(one, levels[one.service], document, only)
            yield f"service-{one.service}", service
            yield f"replicas-{one.service}", replicas
        jobs = [one for one in document.jobs if only in {None, one.service}]
        yield "jobs", parts.jobs(jobs, only)
        entries = [one for one in document.history if only in {None, one.service}]
        timeline = [one for one in entries if only or one.action in CHANGES][:TIMELINE]
        yield "history", parts.history(timeline, only)
        if only is None:
            yield "host", parts.host(view, document)
        else:
            if (log := self._log(only)) is not None:
                yield "log", parts.log(log)
            yield "definition", parts.definition(document.definitions.get(only, ""))

    def _service(self, one: ServiceSnapshot, shown: str, document: Published, only: str | None) -> tuple[str, str]:
        now = document.written
        stamps = (one.deployed, *(replica.started for replica in one.replicas))
        checks = [document.checks.get(replica.id, "") for replica in one.replicas]
        made_of = (one, shown, checks, [age(stamp, now) for stamp in stamps if stamp])
        place = (one.service, only)
        known = self._before.get(place)
        if known is None or known[0] != made_of:
            texts = self._parts.service(one, shown, now, only), self._parts.replicas(one, document.checks, now)
            known = (made_of, texts)
        self._services[place] = known
        return known[1]


def _worst(view: View, levels: Collection[str]) -> str:
    """Return the level of the page: the worst one of its services, or that of the host."""
    document = view.document
    if view.condition is not Condition.LIVE or document is None or document.waiting_for or "bad" in levels:
        return "bad"
    if document.problem or "warn" in levels:
        return "warn"
    return "held" if "held" in levels else "ok"


def progress(change: Change) -> Sequence[tuple[str, str, float | None]]:
    """Return the steps of a change: name, state (`done`, `now` or `next`) and duration."""
    return [
        (step, "done" if step in change.steps else "now" if step == change.current else "next", change.steps.get(step))
        for step in change.plan or tuple(change.steps)
    ]


def is_found(view: View, service: str) -> bool:
    """Return whether a view has this service."""
    return view.status is not None and any(one.service == service for one in view.status.services)


def status_code(view: View) -> int:
    """Return 503 when there is nothing to show."""
    return 200 if view.condition in {Condition.LIVE, Condition.NOT_RUNNING} else 503
