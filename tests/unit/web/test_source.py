"""What a reader gets from any file, and from none."""

import os
from pathlib import Path

import msgspec
import pytest

from conductor.snapshot.published import STALE_SECONDS, VERSION
from conductor.web.source import Condition, Source
from tests.unit.web.conftest import Site


def test_a_document_is_read_once_until_it_changes(site: Site) -> None:
    reads: list[Path] = []

    def counted(path: Path) -> bytes:
        reads.append(path)
        return path.read_bytes()

    source = Source(site.path, site.clock, counted)
    first = source.view()
    assert (first.condition, source.view().stamp) == (Condition.LIVE, first.stamp)
    assert len(reads) == 1
    site.publish()
    assert source.view().stamp != first.stamp
    assert len(reads) == 2


def test_supervise_is_not_running_once_its_document_is_late(site: Site) -> None:
    assert site.source.view().condition is Condition.LIVE
    site.clock.ahead = STALE_SECONDS + 1
    view = site.source.view()
    assert view.condition is Condition.NOT_RUNNING
    assert view.since == site.clock.at(site.path.stat().st_mtime)
    assert view.status is not None
    assert view.status.supervise_running is False
    site.publish()
    os.utime(site.path, (site.clock.wall(),) * 2)
    assert site.source.view().condition is Condition.LIVE


def test_the_end_of_supervise_is_known_at_once(site: Site) -> None:
    ended = "2026-01-31T08:00:00.000Z"
    site.publish(lambda document: msgspec.structs.replace(document, ended=ended))
    assert (site.source.view().condition, site.source.view().since) == (Condition.NOT_RUNNING, ended)


def test_a_clock_that_was_set_back_is_no_reason(site: Site) -> None:
    site.clock.ahead = -3600
    assert site.source.view().condition is Condition.LIVE


@pytest.mark.parametrize(
    ("content", "condition"),
    [
        (b"", Condition.DAMAGED),
        (b"{", Condition.DAMAGED),
        (b"\xff\x00" * 100, Condition.DAMAGED),
        (b"[]", Condition.DAMAGED),
        (b'{"version": "one"}', Condition.DAMAGED),
        (b'{"version": %d}' % VERSION, Condition.DAMAGED),
        (b"[" * 100_000, Condition.DAMAGED),
        (b'{"version": %d}' % (VERSION + 1), Condition.OTHER_VERSION),
        (b'{"version": 0, "status": 1}', Condition.OTHER_VERSION),
    ],
)
def test_a_file_that_is_no_document(site: Site, content: bytes, condition: Condition) -> None:
    site.write(content)
    view = site.source.view()
    assert (view.condition, view.document, bool(view.problem), bool(view.fix)) == (condition, None, True, True)
    site.publish()
    assert site.source.view().condition is Condition.LIVE


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_half_a_document(site: Site, part: float) -> None:
    data = site.path.read_bytes()
    site.write(data[: int(len(data) * part)])
    assert site.source.view().condition is Condition.DAMAGED


def test_a_missing_file_and_a_missing_directory(site: Site) -> None:
    site.path.unlink()
    assert site.source.view().condition is Condition.MISSING
    site.path.parent.rmdir()
    assert site.source.view().condition is Condition.MISSING
    site.publish()
    assert site.source.view().condition is Condition.LIVE


def test_a_file_that_may_not_be_read(site: Site) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    view = Source(site.path, site.clock, denied).view()
    assert (view.condition, view.fix) == (Condition.UNREADABLE, "sudo conductor web")


def test_a_directory_in_place_of_the_file(site: Site) -> None:
    site.path.unlink()
    site.path.mkdir()
    assert site.source.view().condition is Condition.UNREADABLE
