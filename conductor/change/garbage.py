"""Removes garbage: for `conductor gc`, the daily run of `supervise`, and the end of an upgrade. `gc --plan` lists it.

Images are removed one by one under the `IMAGES` lock. Before each removal, the needs of all services are read again.
A service that is busy, or has an interrupted change, is skipped.
"""

import contextlib
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

import msgspec

from conductor.caller import current_user
from conductor.change.cleanup import clean_up_jobs, clean_up_tasks, gone_jobs, leftover_tasks
from conductor.change.context import Context
from conductor.change.parallel import for_each
from conductor.change.progress import text_reporter
from conductor.errors import BusyError, ConductorError, Interrupted
from conductor.output.events import Removed, StepFinished, StepStarted, Warned
from conductor.output.printable import size_text
from conductor.plan.garbage import (
    HISTORY_BYTES,
    Garbage,
    Kind,
    LocalImage,
    Needs,
    PulledImage,
    forgotten,
    garbage_history,
    garbage_images,
    garbage_logs,
    needs,
    summary,
)
from conductor.plan.history import HistoryEntry, Outcome
from conductor.state import files, history
from conductor.state.locks import IMAGES
from conductor.times import time_text

ROTATION = "history.rotation"  # the lock of a rotation; no service id contains a dot
STEP = "gc"
PAUSE_SECONDS = 0.2  # between two removals while an action waits for the `IMAGES` lock
AFTER_UPGRADE = frozenset({Kind.IMAGE, Kind.LOG, Kind.HISTORY})  # the change itself cleans up tasks and jobs


class Skipped(msgspec.Struct, frozen=True):
    """A service, or a kind of garbage, that is skipped, and why."""

    name: str
    reason: str


class Disk(msgspec.Struct, frozen=True):
    """The file system of a directory, and how much of it is free, in percent."""

    path: str
    free: float


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What `gc` would remove and skip now, and the disks on which space becomes free."""

    garbage: tuple[Garbage, ...]
    skipped: tuple[Skipped, ...]
    disks: tuple[Disk, ...]


def survey(context: Context) -> Survey:
    """Return what `collect` would remove now. Nothing is changed."""
    services, skipped = _not_busy(context, context.store.known_services())
    found: list[Garbage] = []
    try:
        local, needed = context.runtime.local_images(), _needs(context)
        found += [image for service in services for _, image in _images(context, service, local, needed)]
    except ConductorError as error:
        skipped.append(Skipped("images", error.sentence))
    for service in services:
        names = [(Kind.CONTAINER, container.name) for container, _ in leftover_tasks(context, service)]
        names += [(Kind.JOB, job) for job in gone_jobs(context, service)]
        found += [Garbage(kind=kind, service=service, name=name) for kind, name in names]
    found += [*_logs(context, None), *_rotated(context)]
    return Survey(garbage=tuple(found), skipped=tuple(skipped), disks=disks(context))


def disks(context: Context) -> tuple[Disk, ...]:
    """Return the disks of the state directory and of Docker's images."""
    paths = [context.host.state_dir]
    with contextlib.suppress(ConductorError):
        paths += filter(None, [context.runtime.daemon().data_dir])
    found = ((path, files.free_percent(Path(path))) for path in paths)
    return tuple(Disk(path, round(free, 1)) for path, free in found if free is not None)


def collect(context: Context, kinds: Collection[Kind], *, without: Collection[str] = ()) -> "Collector":
    """Remove the garbage of the whole host, except that of the services in `without`, and record it in the history."""
    collector = Collector(context, kinds)
    collector.run([one for one in context.store.known_services() if one not in without], None)
    collector.record()
    for disk in disks(context):
        if disk.free < context.host.gc.free:
            collector.warn(
                f"only {disk.free:g}% of the disk that holds {disk.path} is free; "
                "if docker system df shows that images take up the space, lower host.keep or remove images by hand"
            )
    return collector


def collect_after_upgrade(context: Context, services: Collection[str]) -> int:
    """Remove the garbage of upgraded services, whose locks are held; return the number of warnings. Never raise."""
    if not context.host.gc.after_upgrade:
        return 0
    collector = Collector(context, AFTER_UPGRADE)
    try:
        collector.run(services, services)
    except Exception as error:  # noqa: BLE001 (the upgrade is done, and the next run tries again)
        collector.warn(f"cannot remove garbage: {error}")
    return collector.warnings


class Collector:
    """One run. `removed` and `skipped` are filled while it runs. A failure is a warning, and the rest is still removed.

    A run that removes something reports a step; the step begins with the first removal.
    """

    def __init__(self, context: Context, kinds: Collection[Kind]) -> None:
        self._context = context
        self._kinds = kinds
        self.removed: list[Garbage] = []
        self.skipped: list[Skipped] = []
        self.warnings = 0
        self._began: float | None = None  # monotonic

    def run(self, services: Collection[str], logs_of: Collection[str] | None) -> None:
        """Remove the garbage of `services`, old logs of `logs_of` (None: of the whole host) and old history."""
        free, skipped = _not_busy(self._context, services)
        self.skipped += skipped
        for service in free:
            self._attempt(service, partial(self._leftovers, service))
            if Kind.IMAGE in self._kinds:
                self._attempt("images", partial(self._images, service))
        self._attempt("logs", partial(self._logs, logs_of))
        self._attempt("history", self._history)
        if self._began is not None:
            seconds = self._context.clock.monotonic() - self._began
            self._context.output.emit(StepFinished(step=STEP, seconds=seconds))

    def warn(self, text: str) -> None:
        """Report and count a warning."""
        self.warnings += 1
        self._context.output.emit(Warned(text=text))

    def record(self) -> None:
        """Write an entry for each service of which something other than logs was removed."""
        for service in sorted({one.service for one in self.removed if one.service and one.kind is not Kind.LOG}):
            entry = HistoryEntry(
                at=self._context.clock.now(), service=service, action="gc", outcome=Outcome.DONE, who=current_user(),
                command=self._context.command,
                reason=f"removed {summary([one for one in self.removed if one.service == service])}",
            )  # fmt: skip
            self._attempt("history", partial(self._context.history.append, entry))

    def _attempt(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Interrupted:
            raise
        except BusyError as busy:
            self.skipped.append(Skipped(name, busy.sentence))
        except ConductorError as error:
            self.warn(error.sentence)

    def _begin(self) -> None:
        if self._began is None:
            self._began = self._context.clock.monotonic()
            self._context.output.emit(StepStarted(step=STEP, text="remove what is no longer needed"))

    def _removed(self, one: Garbage) -> None:
        self._begin()
        self.removed.append(one)
        self._context.output.emit(Removed(kind=one.kind, service=one.service, name=one.name, bytes=one.bytes))

    def _leftovers(self, service: str) -> None:
        """Hold the service's lock only where there is something to remove."""
        context = self._context
        if Kind.CONTAINER in self._kinds and any(leftover_tasks(context, service)):
            with context.locks.hold(service):
                for name in clean_up_tasks(context, service):
                    self._removed(Garbage(kind=Kind.CONTAINER, service=service, name=name))
        if Kind.JOB in self._kinds and gone_jobs(context, service):
            with context.locks.hold(service):
                for job in clean_up_jobs(context, service):
                    self._removed(Garbage(kind=Kind.JOB, service=service, name=job))

    def _images(self, service: str) -> None:
        context, failed = self._context, set[PulledImage]()
        while context.store.pulled(service).images:
            with context.locks.hold(IMAGES):
                local = context.runtime.local_images()
                pulled = context.store.pulled(service)
                if gone := forgotten(pulled, local):
                    context.store.write_pulled(pulled := pulled.without(gone))
                found = [one for one in _images(context, service, local, _needs(context)) if one[0] not in failed]
                if not found:
                    return
                if reason := _busy(context, service):  # a command took its lock meanwhile
                    self.skipped.append(Skipped(service, reason))
                    return
                record, image = found[0]
                if error := self._remove_image(image, record, len(found)):
                    failed.add(record)
                    self.warn(error.sentence)
                    continue
                context.store.write_pulled(pulled.without([record]))
            self._removed(image)
            if context.locks.has_waiters(IMAGES):
                context.cancellation.wait(PAUSE_SECONDS)
            context.cancellation.check()

    def _remove_image(self, image: Garbage, record: PulledImage, left: int) -> ConductorError | None:
        """Remove one of `left` images and report the progress, because a large image takes its time; return the failure."""
        context = self._context
        self._begin()
        report = text_reporter(context.output, context.clock, STEP)

        def progress() -> None:
            report(f"removing {image.name} of {image.service}, {size_text(image.bytes)}, {left} left")

        def remove(name: str) -> None:
            context.runtime.remove_image(name, record.image_id)

        progress()
        return next((error for _, error in for_each([image.name], remove, progress)), None)

    def _logs(self, services: Collection[str] | None) -> None:
        for log in _logs(self._context, services):
            self._context.store.remove_log(log.service, log.name)
            self._removed(log)

    def _history(self) -> None:
        directory = self._context.store.directory
        with self._context.locks.hold(ROTATION):
            if history.size(directory) >= HISTORY_BYTES:
                history.rotate(directory)
            for one in _rotated(self._context):
                history.remove_rotated(directory, one.name)
                self._removed(one)


def _not_busy(context: Context, services: Collection[str]) -> tuple[list[str], list[Skipped]]:
    reasons = {service: _busy(context, service) for service in sorted(services)}
    skipped = [Skipped(service, reason) for service, reason in reasons.items() if reason]
    return [service for service, reason in reasons.items() if not reason], skipped


def _busy(context: Context, service: str) -> str:
    """Return why nothing of a service may be removed now, or an empty text."""
    if service not in context.locks.held and context.locks.is_held(service):
        if (holder := context.locks.holder(service)) is None:
            return "busy: another process holds the service's lock"
        return (
            f"busy: process {holder.pid} ({holder.command}) has held the service's lock since {time_text(holder.since)}"
        )
    try:
        interrupted = context.store.journal(service) is not None
    except ConductorError as error:
        return error.sentence
    return "it has an interrupted change, which the next command will recover" if interrupted else ""


def _needs(context: Context) -> Needs:
    """Return what all services need. Raise if that cannot be read: no image may be removed then.

    A journal is read before the wanted state, so that one of the two contains a change that ends meanwhile.
    """
    store = context.store
    services = sorted({*store.services(), *store.in_progress()})
    return needs(((store.journal(one), store.wanted(one)) for one in services), context.crontabs.texts())


def _images(
    context: Context, service: str, local: Sequence[LocalImage], needed: Needs
) -> tuple[tuple[PulledImage, Garbage], ...]:
    return garbage_images(context.store.pulled(service), local, needed)


def _is_full(context: Context) -> bool:
    free = files.free_percent(context.store.directory)
    return free is not None and free < context.host.gc.free


def _logs(context: Context, services: Collection[str] | None) -> tuple[Garbage, ...]:
    logs = [one for one in context.store.log_files() if services is None or one.service in services]
    return garbage_logs(logs, context.clock.wall(), context.host.gc.logs, full=_is_full(context))


def _rotated(context: Context) -> tuple[Garbage, ...]:
    rotated = history.rotated(context.store.directory)
    return garbage_history(rotated, context.clock.wall(), full=_is_full(context))
