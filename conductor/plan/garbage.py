"""What can be removed to free disk space, without harm to rollbacks, tasks or other users of Docker (pure).

Only images that Conductor itself pulled are ever removed, which its records of pulls show.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum

import msgspec

from conductor.plan.journal import Journal
from conductor.plan.release import Wanted

LOGS_WHEN_FULL = 5  # kept of each service while too little disk space is free
HISTORY_FILES, HISTORY_FILES_WHEN_FULL = 10, 1  # kept of the rotated ones
HISTORY_SECONDS = 2 * 365 * 86400.0  # a rotated file is removed this long after its last entry
HISTORY_BYTES = 8 * 2**20  # then the history continues in a new file
_REVISION = re.compile(r"--revision(?:=|\s+)[\"']?([A-Za-z0-9_][A-Za-z0-9_.-]*)")


class Kind(StrEnum):
    """What is removed."""

    IMAGE = "image"
    CONTAINER = "container"
    JOB = "job"  # the last result and the locks of a cron job
    LOG = "log"
    HISTORY = "history"


class Garbage(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to remove. `service` is empty for what belongs to the host. `bytes` is what its removal frees at most: images
    share layers, and each image counts all of its own."""

    kind: Kind
    name: str
    service: str = ""
    bytes: int = 0


class PulledImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that Conductor pulled, and the reference by which it did so."""

    reference: str
    image_id: str


class PulledImages(msgspec.Struct, frozen=True, kw_only=True):
    """The images that Conductor pulled for one service and has not removed."""

    service: str
    version: int = 1
    images: tuple[PulledImage, ...] = ()

    def with_image(self, image: PulledImage) -> "PulledImages":
        """Return the same with one more image."""
        return msgspec.structs.replace(self, images=(*(one for one in self.images if one != image), image))

    def without(self, images: Collection[PulledImage]) -> "PulledImages":
        """Return the same without some images."""
        return msgspec.structs.replace(self, images=tuple(one for one in self.images if one not in images))


class LocalImage(msgspec.Struct, frozen=True, kw_only=True):
    """Any image on this host. `references` are its tags and digests, `bytes` includes shared layers.

    `in_use`: any container uses it, in any state, or another image was built on it.
    """

    id: str
    references: tuple[str, ...]
    bytes: int
    in_use: bool


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What must stay: the ids of images that a release needs, and the revisions that an installed crontab names."""

    image_ids: frozenset[str] = frozenset()
    revisions: frozenset[str] = frozenset()


class KeptFile(msgspec.Struct, frozen=True, kw_only=True):
    """A kept log or a rotated file of the history. `modified` is in seconds since 1970."""

    name: str
    modified: float
    bytes: int
    service: str = ""


def needs(states: Iterable[tuple[Journal | None, Wanted]], crontabs: Iterable[str]) -> Needs:
    """Return what the stored releases of all services, their changes in progress, and the texts of crontabs need."""
    wanted = [one for journal, state in states for one in (state, *((journal.old, journal.new) if journal else ()))]
    releases = [release for one in wanted for release in (one.release, *one.kept) if release]
    return Needs(
        image_ids=frozenset(release.image_id for release in releases),
        revisions=frozenset(found for text in crontabs for found in _REVISION.findall(text)),
    )


def forgotten(pulled: PulledImages, local: Sequence[LocalImage]) -> tuple[PulledImage, ...]:
    """Return the outdated records: the image was removed, or its name now belongs to another image."""
    by_id = {one.id: one for one in local}
    return tuple(one for one in pulled.images if one.image_id not in by_id or _name(one, by_id[one.image_id]) is None)


def garbage_images(
    pulled: PulledImages, local: Sequence[LocalImage], needed: Needs
) -> tuple[tuple[PulledImage, Garbage], ...]:
    """Return the images that Conductor pulled for a service and that nothing needs or uses, each with its record."""
    found, by_id = [], {one.id: one for one in local}
    for one in pulled.images:
        image = by_id.get(one.image_id)
        if image is None or image.in_use or one.image_id in needed.image_ids:
            continue
        if one.reference.rpartition(":")[2] in needed.revisions or (name := _name(one, image)) is None:
            continue
        frees = image.bytes if set(image.references) <= _names_of_pull(one, image) else 0
        found.append((one, Garbage(kind=Kind.IMAGE, service=pulled.service, name=name, bytes=frees)))
    return tuple(found)


def _name(pulled: PulledImage, image: LocalImage) -> str | None:
    """Return what to remove: the reference of the pull; its digest, if the tag moved to another image; or the id of an image
    without any reference. None: the image has other names."""
    if pulled.reference in image.references:
        return pulled.reference
    if not image.references:
        return image.id
    return min(image.references) if set(image.references) <= _names_of_pull(pulled, image) else None


def _names_of_pull(pulled: PulledImage, image: LocalImage) -> set[str]:
    """Return the names that a pull gives an image: its reference, and the digests in the same repository."""
    repository = pulled.reference.partition("@")[0]
    if repository == pulled.reference:
        repository = repository.rpartition(":")[0]
    return {pulled.reference, *(one for one in image.references if one.partition("@")[0] == repository)}


def garbage_logs(logs: Sequence[KeptFile], now: float, max_seconds: float, *, full: bool) -> tuple[Garbage, ...]:
    """Return the logs older than `max_seconds`, and with a `full` disk all but the latest of each service."""
    newest: dict[str, int] = {}
    found = []
    for log in sorted(logs, key=lambda one: (-one.modified, one.name)):
        newest[log.service] = newest.get(log.service, 0) + 1
        if now - log.modified > max_seconds or (full and newest[log.service] > LOGS_WHEN_FULL):
            found.append(Garbage(kind=Kind.LOG, service=log.service, name=log.name, bytes=log.bytes))
    return tuple(reversed(found))


def garbage_history(rotated: Sequence[KeptFile], now: float, *, full: bool) -> tuple[Garbage, ...]:
    """Return the rotated files of the history to remove: beyond a number, or too old. `rotated` is oldest first.

    The latest one is always kept: another process may still be writing to it.
    """
    keep = HISTORY_FILES_WHEN_FULL if full else HISTORY_FILES
    return tuple(
        Garbage(kind=Kind.HISTORY, name=one.name, bytes=one.bytes)
        for left, one in zip(range(len(rotated) - 1, -1, -1), rotated, strict=True)
        if left and (left >= keep or now - one.modified > HISTORY_SECONDS)
    )


def summary(garbage: Collection[Garbage]) -> str:
    """Return how many of each kind: `2 images, 1 log`."""
    counts = {kind: sum(one.kind is kind for one in garbage) for kind in Kind}
    texts = [f"{count} {_plural(kind, count)}" for kind, count in counts.items() if count]
    return ", ".join(texts) or "nothing"


def _plural(kind: Kind, count: int) -> str:
    text = {Kind.JOB: "job result", Kind.HISTORY: "history file"}.get(kind, kind.value)
    return text + "s" * (count != 1)
