"""`cron list`: the state of each installed job."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conductor.clock import Clock
from conductor.cron.installed import job_key
from conductor.cron.table import parse
from conductor.cron.wrap import wrap
from conductor.definitions.load import load
from conductor.errors import UsageError
from conductor.output.tables import as_document
from conductor.plan.release import Image, Release, Wanted
from conductor.plan.replica import Containers, TaskContainer
from conductor.plan.tasks import JobResult
from conductor.snapshot.jobs import document, job_rows
from conductor.snapshot.model import JobRow, JobState
from conductor.state.crontabs import Crontabs
from conductor.state.store import Store

KEY = job_key("bin/settle")


class Host:
    """A host with one installed job, `bin/settle` of service web."""

    def __init__(self, directory: Path) -> None:
        (directory / "services.yml").write_text("version: 1\nservices: {web: {image: x}}\n")
        (directory / "cron.d").mkdir()
        self.definitions = load(directory / "services.yml")
        self.store = Store(directory / "state")
        self.crontabs = Crontabs(str(directory / "cron.d"))
        self.tasks: tuple[TaskContainer, ...] = ()
        self.images: dict[str, Image] = {}
        text = wrap(
            parse("*/5 * * * * bin/settle\n"), service="web", revision="r1", program="/bin/conductor", config=None
        )
        self.crontabs.put("web", text)

    def rows(self, only: str | None = None) -> list[JobRow]:
        runtime = SimpleNamespace(containers=lambda _service: Containers((), self.tasks), image=self.images.get)
        context: Any = SimpleNamespace(runtime=runtime, store=self.store, crontabs=self.crontabs, clock=Clock())
        return job_rows(self.definitions, context, only)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def result(**fields: Any) -> JobResult:
    return JobResult(service="web", job=KEY, **fields)


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (None, JobState.NEVER),
        (result(began="2026-01-01T00:00:00.000Z"), JobState.LOST),
        (result(began="2026-01-01T00:00:00.000Z", exit_code=7, seconds=1.5), JobState.DONE),
    ],
)
def test_states(host: Host, last: JobResult | None, state: JobState) -> None:
    if last:
        host.store.write_job(last)
    (row,) = host.rows()
    assert (row.state, row.exit_code, row.command) == (state, last.exit_code if last else None, "bin/settle")
    assert row.next_run is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d[05]:00Z", row.next_run)
    host.tasks = (
        TaskContainer(
            id="1", name="x", service="web", revision="r1", kind="cron", change="t1", state="running", job=KEY
        ),
    )
    assert host.rows()[0].state is JobState.RUNNING


def test_a_damaged_result_concerns_only_its_job(host: Host) -> None:
    host.store.write_job(result())
    (path,) = (host.store.directory / "jobs").rglob("*.json")
    path.write_text("{")
    (row,) = host.rows()
    assert row.state is JobState.DAMAGED
    assert str(path) in row.output


def test_an_edited_schedule_that_is_invalid_concerns_only_its_job(host: Host) -> None:
    host.store.write_job(result(began="2026-01-01T00:00:00.000Z", exit_code=7, failures=2))
    text = host.crontabs.read("web") or ""
    other = text.splitlines()[-1].replace("*/5 * * * *", "*/70 5#2 * * *")
    host.crontabs.put("web", f"{text}{other}\n")
    good, bad = host.rows()
    assert (good.state, good.next_run is None, bad.state, bad.next_run) == (
        JobState.DONE,
        False,
        JobState.DAMAGED,
        None,
    )
    assert "*/70 5#2 * * *" in bad.output
    assert bad.failures == 2


def test_a_job_whose_image_is_missing(host: Host) -> None:
    assert not host.rows()[0].image_missing  # a release that is not stored: its image is pulled when a job runs
    release = Release(
        id="c1", service="web", revision="r1", image="x:r1", image_id="sha256:1", digest="", definition={}
    )
    host.store.write_wanted(Wanted(service="web", kept=(release,)))
    assert host.rows()[0].image_missing
    host.images["sha256:1"] = Image(id="sha256:1", digest="")
    assert not host.rows()[0].image_missing


def test_one_service(host: Host) -> None:
    assert len(host.rows("web")) == 1
    with pytest.raises(UsageError):
        host.rows("wbe")


def test_the_json_document(host: Host) -> None:
    host.store.write_job(result(began="2026-01-01T00:00:00.000Z", exit_code=0, seconds=1.5, revision="r0", skipped=2))
    whole = json.loads(as_document(document(host.rows())))
    whole["jobs"][0].pop("next_run")
    assert whole == {
        "version": 1,
        "jobs": [
            {
                "service": "web",
                "revision": "r1",
                "job": KEY,
                "schedule": "*/5 * * * *",
                "command": "bin/settle",
                "state": "done",
                "last_revision": "r0",
                "began": "2026-01-01T00:00:00.000Z",
                "seconds": 1.5,
                "exit_code": 0,
                "failures": 0,
                "image_missing": False,
                "skipped": 2,
                "output": "",
            }
        ],
    }


def test_a_job_that_has_just_begun_is_not_lost(host: Host) -> None:
    """Its container is created after its beginning is recorded, and perhaps after the list of containers was taken."""
    host.store.write_job(result(began=Clock().now()))
    assert host.rows()[0].state is JobState.RUNNING
