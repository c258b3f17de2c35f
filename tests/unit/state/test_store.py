"""The state directory: wanted states, journals, addresses, job results and kept logs."""

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conductor.errors import ConductorError
from conductor.plan.addresses import Addresses
from conductor.plan.journal import Journal
from conductor.plan.release import Wanted
from conductor.plan.replica import Replica
from conductor.plan.route import Cutover
from conductor.plan.tasks import JobResult
from conductor.state.store import KEPT_LOGS, Store

REPLICA = Replica(
    id="i1", name="web-1", service="web", revision="r1", release="c1", change="c1", address="10.0.0.2:80", state="running"
)  # fmt: skip
JOURNAL = Journal(
    change="c2", service="web", action="upgrade", command="test", who="ada", began="2026-01-01T00:00:00Z",
    old=Wanted(service="web"), new=Wanted(service="web"), before=(REPLICA,), keep=("i1",), reserved=("10.0.0.3:80",),
    cutover=Cutover(implementation="fake", state={"former": {"web": ["10.0.0.2:80"]}}), steps={"start": 0.5},
)  # fmt: skip


def test_the_wanted_state_that_is_written_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    assert store.wanted("web") == Wanted(service="web")
    assert store.services() == ()
    store.write_wanted(Wanted(service="web", scale=3))
    assert store.wanted("web") == Wanted(service="web", scale=3)
    assert store.services() == ("web",)
    assert [path.name for path in (tmp_path / "state" / "services").iterdir()] == ["web.json"]


def test_a_damaged_wanted_state_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "services" / "web.json"
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(ConductorError) as refused:
        Store(tmp_path).wanted("web")
    assert str(path) in refused.value.sentence


def test_the_journal_that_is_written_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert (store.journal("web"), store.in_progress()) == (None, ())
    store.write_journal(JOURNAL)
    assert (store.journal("web"), store.in_progress(), store.services()) == (JOURNAL, ("web",), ())
    store.remove_journal("web")
    assert (store.journal("web"), store.in_progress()) == (None, ())


def test_temporary_files_of_a_killed_process_are_removed_with_the_journal(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_wanted(Wanted(service="web"))
    (tmp_path / "journal").mkdir()
    left = [tmp_path / "services" / ".web.json.new", tmp_path / "journal" / ".web.json.new"]
    other = tmp_path / "services" / ".other.json.new"
    for path in (*left, other):
        path.write_text("half")
    assert (store.services(), store.in_progress()) == (("web",), ())
    store.remove_journal("web")
    assert [path.exists() for path in left] == [False, False]
    assert other.exists()
    assert store.wanted("web") == Wanted(service="web")


def test_addresses_that_are_written_are_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.addresses() == Addresses()
    book = Addresses(cursor={"10.0.0.0/24": "10.0.0.2:80"}, reserved={"10.0.0.2:80": "c1"})
    store.write_addresses(book)
    assert store.addresses() == book


def test_job_results_that_are_written_are_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.job("web", "k1") is None
    result = JobResult(service="web", job="k1", revision="r1", exit_code=3)
    store.write_job(result)
    assert (store.job("web", "k1"), store.job("web", "k2")) == (result, None)


def test_the_stamp_changes_with_every_write(tmp_path: Path) -> None:
    store = Store(tmp_path)
    stamps = [store.stamp("web")]
    for scale in (1, 2):
        store.write_wanted(Wanted(service="web", scale=scale))
        stamps.append(store.stamp("web"))
    assert stamps[0] is None
    assert len(set(stamps)) == 3
    assert store.stamp("web") == stamps[-1]


def test_only_root_can_read_the_state(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    store.write_wanted(Wanted(service="web"))
    store.write_journal(JOURNAL)
    store.write_addresses(Addresses())
    store.write_job(JobResult(service="web", job="k1"))
    store.keep_log("web", "web-1", ["a line"])
    paths = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()} == {0o600}


def test_many_threads_keep_logs_at_once(tmp_path: Path) -> None:
    """The replicas of a change are removed in parallel: a file that another thread has deleted is no error."""
    store, at_once = Store(tmp_path), 8
    together = threading.Barrier(at_once)

    def keep(number: int) -> None:
        together.wait()
        store.keep_log("web", f"web-{number:04}", [f"line {number}"])

    for number in range(KEPT_LOGS):
        store.keep_log("web", f"old-{number:04}", [])
    with ThreadPoolExecutor(at_once) as pool:
        assert list(pool.map(keep, range(50 * at_once))) == [None] * 50 * at_once
    kept = sorted(path.name for path in (tmp_path / "logs" / "web").iterdir())
    assert KEPT_LOGS - at_once <= len(kept) <= KEPT_LOGS
    assert not [name for name in kept if name.startswith("old-")]


def test_many_logs_of_one_service_evict_none_of_another(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.keep_log("web", "web-1", ["a line"])
    for number in range(KEPT_LOGS + 5):
        store.keep_log("loop", f"loop-{number:04}", [])
    assert [path.name for path in (tmp_path / "logs" / "web").iterdir()] == ["web-1.log"]
    assert len(list((tmp_path / "logs" / "loop").iterdir())) == KEPT_LOGS


def test_results_of_jobs_are_listed_and_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.jobs("web") == ()
    for job in ("k2", "k1"):
        store.write_job(JobResult(service="web", job=job))
    assert store.jobs("web") == ("k1", "k2")
    store.remove_job("web", "k1")
    assert store.jobs("web") == ("k2",)
