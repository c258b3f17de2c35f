"""The record of what nginx serves: versions by digest, and endpoints that old workers still know."""

import os
import stat
from pathlib import Path

import pytest

from conductor.errors import ConductorError
from conductor.traffic.processes import Worker
from conductor.traffic.reload.record import Record, Version, digest

OLD, NEW, OTHER = "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"


def version(text: str | None, *endpoints: str) -> Version:
    return Version(digest(text), endpoints)


def switch(record: Record, service: str, text: str | None, *endpoints: str, workers: tuple[Worker, ...] = ()) -> None:
    """Record a whole switch."""
    changes = {service: version(text, *endpoints)}
    record.begin(changes)
    record.complete(changes, workers)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """The record after `web` was switched to OLD, with the text `old`."""
    made = Record(tmp_path)
    switch(made, "web", "old", OLD)
    return made


@pytest.fixture
def gone(living_worker: Worker) -> Worker:
    """A worker that has exited: its pid belongs to a process with another start time."""
    return living_worker._replace(started=living_worker.started + 1)


def test_a_text_has_the_endpoints_that_it_was_written_with(record: Record) -> None:
    assert record.endpoints("web", "old") == (OLD,)


@pytest.mark.parametrize(
    ("service", "text"),
    [("web", "edited by an operator"), ("web", None), ("worker", "old"), ("worker", None)],
    ids=["unknown text", "no file", "another service's text", "unknown service"],
)
def test_an_unknown_text_has_no_endpoints(record: Record, service: str, text: str | None) -> None:
    assert record.endpoints(service, text) == ()


def test_a_text_is_known_unless_another_one_was_written(record: Record) -> None:
    assert record.knows("web", "old")
    assert not record.knows("web", "edited by an operator")
    assert record.knows("worker", "of a lost record")
    record.begin({"web": version("new", NEW)})
    assert (record.knows("web", "old"), record.knows("web", "new")) == (True, True)


def test_without_a_file_there_is_no_endpoint(tmp_path: Path) -> None:
    record = Record(tmp_path)
    assert (record.endpoints("web", "old"), record.known()) == ((), frozenset())
    assert list(tmp_path.iterdir()) == []


def test_during_a_switch_both_versions_are_known(record: Record) -> None:
    changes = {"web": version("new", NEW)}
    record.begin(changes)
    assert (record.endpoints("web", "old"), record.endpoints("web", "new")) == ((OLD,), (NEW,))
    assert record.known() == {OLD, NEW}
    record.complete(changes, ())
    assert (record.endpoints("web", "old"), record.endpoints("web", "new")) == ((), (NEW,))
    assert record.known() == {NEW}


def test_a_switch_that_begins_again_writes_nothing(record: Record, tmp_path: Path, gone: Worker) -> None:
    """A rollback on a full disk must not fail here."""
    switch(record, "web", "new", NEW, workers=(gone,))
    record.begin({"web": version("old", OLD)})
    before = (tmp_path / "traffic.json").stat()
    record.begin({"web": version("new", NEW)})
    assert (tmp_path / "traffic.json").stat() == before


def test_a_switch_back_after_a_killed_one_knows_both_versions_until_it_is_complete(record: Record) -> None:
    record.begin({"web": version("new", NEW)})
    back = {"web": version("old", OLD)}
    record.begin(back)
    assert (record.endpoints("web", "old"), record.endpoints("web", "new")) == ((OLD,), (NEW,))
    record.complete(back, ())
    assert record.known() == {OLD}


def test_other_services_keep_their_versions(record: Record) -> None:
    switch(record, "worker", "text", OTHER)
    assert (record.endpoints("web", "old"), record.endpoints("worker", "text")) == ((OLD,), (OTHER,))
    assert record.known() == {OLD, OTHER}


def test_a_removed_file_has_no_version(record: Record) -> None:
    switch(record, "web", None)
    assert (record.endpoints("web", "old"), record.endpoints("web", None), record.known()) == ((), (), frozenset())


def test_endpoints_that_leave_are_known_while_a_worker_lives(
    record: Record, living_worker: Worker, gone: Worker
) -> None:
    switch(record, "web", "new", NEW, workers=(gone, living_worker))
    assert record.known() == {OLD, NEW}
    assert record.endpoints("web", "old") == ()


def test_endpoints_that_stay_are_not_quarantined(record: Record, living_worker: Worker) -> None:
    switch(record, "web", "both", OLD, NEW, workers=(living_worker,))
    switch(record, "web", "new", NEW, workers=())
    assert record.known() == {NEW}


def test_endpoints_of_a_version_that_was_never_in_force_are_quarantined_too(
    record: Record, living_worker: Worker
) -> None:
    """The killed process may have reloaded nginx before it could record that."""
    record.begin({"web": version("new", NEW)})
    switch(record, "web", "old", OLD, workers=(living_worker,))
    assert record.known() == {OLD, NEW}


def test_the_quarantine_ends_when_the_worker_has_exited(record: Record, gone: Worker) -> None:
    switch(record, "web", "new", NEW, workers=(gone,))
    assert record.known() == {NEW}


def test_the_quarantine_ends_with_a_reboot(record: Record, living_worker: Worker) -> None:
    switch(record, "web", "new", NEW, workers=(living_worker._replace(boot="another boot"),))
    assert record.known() == {NEW}


def test_a_write_drops_what_is_no_longer_in_quarantine(record: Record, gone: Worker, tmp_path: Path) -> None:
    switch(record, "web", "new", NEW, workers=(gone,))
    assert OLD not in (tmp_path / "traffic.json").read_text()


def test_another_process_reads_the_record(record: Record, living_worker: Worker, tmp_path: Path) -> None:
    other = Record(tmp_path)
    assert other.known() == {OLD}
    switch(record, "web", "new", NEW, workers=(living_worker,))
    assert other.known() == {OLD, NEW}
    assert other.endpoints("web", "new") == (NEW,)


def test_an_equal_record_is_not_written_again(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "traffic.json"
    os.utime(path, (1, 1))
    switch(record, "web", "old", OLD)
    assert path.stat().st_mtime == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "{", '{"version": 2}', '{"routes": {"web": [{"digest": 7}]}}'])
def test_a_newer_or_damaged_record_is_refused_by_name(record: Record, tmp_path: Path, text: str) -> None:
    path = tmp_path / "traffic.json"
    path.write_text(text)
    for call in (record.known, lambda: record.endpoints("web", "old"), lambda: record.begin({})):
        with pytest.raises(ConductorError) as refused:
            call()
        assert refused.value.sentence.startswith(f"cannot read {path}: ")
    assert path.read_text() == text


def test_no_file_is_no_digest() -> None:
    assert digest(None) is None
    assert digest("") != digest("a") != digest("\udcff")


def test_an_endpoint_that_left_before_a_cutover_is_known_while_a_worker_from_then_lives(
    record: Record, living_worker: Worker
) -> None:
    """As of an exited replica: its traffic is rerouted first, and its replacement joins with a later switch."""
    switch(record, "web", "both", OLD, NEW)
    switch(record, "web", "rerouted", NEW, workers=(living_worker,))
    switch(record, "web", "repaired", NEW, OTHER)
    assert record.known() == {OLD, NEW, OTHER}


def test_a_record_that_cannot_be_reached_is_an_error_and_not_an_empty_one(tmp_path: Path) -> None:
    """For example a link to itself, or a disk that does not answer."""
    (tmp_path / "traffic.json").symlink_to("traffic.json")
    with pytest.raises(ConductorError):
        Record(tmp_path).known()
