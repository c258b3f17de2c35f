"""The state directory: wanted states, journals, addresses, job results and kept logs."""

import json
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conductor.errors import ConductorError
from conductor.plan.addresses import Addresses
from conductor.plan.journal import Journal
from conductor.plan.log import KeptLog, LogLine
from conductor.plan.release import Wanted
from conductor.plan.replica import Replica
from conductor.plan.route import Cutover
from conductor.plan.tasks import JobResult
from conductor.state.kept_logs import KEPT_LOGS
from conductor.state.store import Store

REPLICA = Replica(
    id="i1", name="web-1", service="web", revision="r1", release="c1", change="c1", address="10.0.0.2:80", state="running"
)  # fmt: skip
JOURNAL = Journal(
    change="c2", service="web", action="upgrade", command="test", who="ada", began="2026-01-01T00:00:00Z",
    old=Wanted(service="web"), new=Wanted(service="web"), before=(REPLICA,), keep=("i1",), reserved=("10.0.0.3:80",),
    cutover=Cutover(implementation="fake", state={"former": {"web": ["10.0.0.2:80"]}}), steps={"start": 0.5},
)  # fmt: skip


def kept(container: str) -> KeptLog:
    lines = (LogLine("2026-01-01T00:00:00.000000001Z", "stderr", "a  line\r"), LogLine("t", "stdout", ""))
    return KeptLog(container=container, revision="r1", kind="service", lines=lines)


def test_the_wanted_state_that_is_written_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    assert store.wanted("web") == Wanted(service="web")
    assert store.services() == ()
    store.write_wanted(Wanted(service="web", scale=3))
    assert store.wanted("web") == Wanted(service="web", scale=3)
    assert store.services() == ("web",)
    assert [path.name for path in (tmp_path / "state" / "services").iterdir()] == ["web.json"]


def test_keys_of_a_newer_version_stay_when_the_wanted_state_is_written(tmp_path: Path) -> None:
    """Those of a release or a hold stay with it, and leave with it."""

    def release(change: str) -> dict[str, Any]:
        fields = {"service": "web", "revision": change, "image": "i", "image_id": "i", "digest": "d", "definition": {}}
        return {"id": change, **fields, "new": f"release {change}"}

    path = tmp_path / "services" / "web.json"
    path.parent.mkdir()
    hold = {"reason": "", "who": "ada", "since": "2026-01-01T00:00:00Z", "new": "hold"}
    page = {**hold, "since": "2026-01-02T00:00:00Z", "new": "page"}
    before = {
        "service": "web", "release": release("c2"), "kept": [release("c1")], "paused": hold, "maintenance": page,
        "new": {"a": [1]},
    }  # fmt: skip
    path.write_text(json.dumps(before))
    store = Store(tmp_path)
    wanted = store.wanted("web")
    third = msgspec.structs.replace(wanted.live, id="c3", revision="c3", crontab="")
    store.write_wanted(msgspec.structs.replace(wanted.with_release(third, keep=1), scale=3, stopped=wanted.paused))
    written = json.loads(path.read_text())
    assert (written["new"], written["scale"]) == ({"a": [1]}, 3)
    assert "new" not in written["release"]
    assert [(one["id"], one["new"]) for one in written["kept"]] == [("c2", "release c2")]
    assert [written[key]["new"] for key in ("paused", "stopped", "maintenance")] == ["hold", "hold", "page"]
    store.write_wanted(msgspec.structs.replace(store.wanted("web"), paused=None, stopped=None))
    written = json.loads(path.read_text())
    assert (written["paused"], written["stopped"], written["new"]) == (None, None, {"a": [1]})


def test_keys_of_a_newer_version_stay_when_the_addresses_are_written(tmp_path: Path) -> None:
    (tmp_path / "addresses.json").write_text('{"version": 1, "quarantine": {"10.0.0.2": "c1"}}')
    store = Store(tmp_path)
    store.write_addresses(msgspec.structs.replace(store.addresses(), cursor={"range": "10.0.0.3"}))
    written = json.loads((tmp_path / "addresses.json").read_text())
    assert (written["quarantine"], written["cursor"]) == ({"10.0.0.2": "c1"}, {"range": "10.0.0.3"})


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
    store.keep_log("web", kept("web-1"))
    paths = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()} == {0o600}


def test_a_kept_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.keep_log("web", kept("web-r1-c1-1"))
    found = store.kept_log("web", "web-r1-c1-1")
    assert found is not None
    assert found == msgspec.structs.replace(kept("web-r1-c1-1"), modified=found.modified)
    assert found.modified > 0
    assert store.kept_log("web", "web-r1-c1-2") is None


@pytest.mark.parametrize(
    ("name", "revision", "kind"),
    [("web-279d90358866-3fa0b1c2-1", "279d90358866", "service"), ("web-fix-a-b-3fa0b1c2-hook", "fix-a-b", "hook")],
)
def test_a_log_that_an_older_version_kept(tmp_path: Path, name: str, revision: str, kind: str) -> None:
    path = tmp_path / "logs" / "web" / f"{name}.log"
    path.parent.mkdir(parents=True)
    path.write_text("one\n\ntwo\n")
    found = Store(tmp_path).kept_log("web", name)
    assert found is not None
    assert (found.revision, found.kind) == (revision, kind)
    assert [(line.time, line.text) for line in found.lines] == [("", "one"), ("", ""), ("", "two")]


def test_a_log_that_a_newer_version_kept_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web" / "web-1.log"
    path.parent.mkdir(parents=True)
    path.write_text('{"version":3,"revision":"r1","kind":"service"}\nsomething\n')
    with pytest.raises(ConductorError, match="its format is 3"):
        Store(tmp_path).kept_log("web", "web-1")


def test_many_threads_keep_logs_at_once(tmp_path: Path) -> None:
    """The replicas of a change are removed in parallel: a file that another thread has deleted is no error."""
    store, at_once = Store(tmp_path), 8
    together = threading.Barrier(at_once)

    def keep_one(number: int) -> None:
        together.wait()
        store.keep_log("web", kept(f"web-{number:04}"))

    for number in range(KEPT_LOGS):
        store.keep_log("web", kept(f"old-{number:04}"))
    with ThreadPoolExecutor(at_once) as pool:
        assert list(pool.map(keep_one, range(50 * at_once))) == [None] * 50 * at_once
    left = store.kept_logs("web")
    assert KEPT_LOGS - at_once <= len(left) <= KEPT_LOGS
    assert not [name for name in left if name.startswith("old-")]


def test_many_logs_of_one_service_evict_none_of_another(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.keep_log("web", kept("web-1"))
    for number in range(KEPT_LOGS + 5):
        store.keep_log("loop", kept(f"loop-{number:04}"))
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


def test_a_directory_that_cannot_be_listed_is_not_an_empty_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert (store.services(), store.in_progress(), store.jobs("web")) == ((), (), ())
    (tmp_path / "jobs").mkdir()
    for path, listed in (
        ("services", store.services), ("journal", store.in_progress), ("jobs/web", lambda: store.jobs("web")),
    ):  # fmt: skip
        (tmp_path / path).symlink_to(tmp_path / path)  # a link to itself
        with pytest.raises(ConductorError, match=f"cannot read {tmp_path / path}"):
            listed()
