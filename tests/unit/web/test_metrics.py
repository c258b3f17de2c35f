"""The metrics: promtool accepts them, and each tells what the document says."""

import re
import shutil
import subprocess
from typing import get_args

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from conductor.health.monitor import CheckTotals
from conductor.plan.history import HistoryAction, HistoryEntry, Outcome
from conductor.plan.reconcile import Condition
from conductor.snapshot.model import JobRow, JobState
from conductor.snapshot.published import STALE_SECONDS, Published
from conductor.snapshot.rows import ServiceCondition
from conductor.state.history import History
from tests.support.commands import ROOT
from tests.unit.web.conftest import Site


def samples(site: Site) -> dict[str, float]:
    """Return the samples by name and labels."""
    found = {}
    for family in text_string_to_metric_families(site.get("/metrics").body):
        for one in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(one.labels.items()))
            found[f"{one.name}{{{labels}}}" if labels else one.name] = one.value
    return found


def test_services(site: Site) -> None:
    site.host.monitor.conditions[site.host.replicas("web")[0].id] = Condition.STARTING
    site.publish()
    found = samples(site)
    shown = {
        name: found[f"conductor_service_{name}{{service=web}}"] for name in ("wanted", "running", "healthy", "serving")
    }
    assert shown == {"wanted": 2, "running": 2, "healthy": 1, "serving": 2}
    assert found["conductor_service_info{revision=r1,service=web}"] == 1
    assert found["conductor_service_condition{condition=never-deployed,service=new}"] == 1
    assert not any("service=new" in name and "service_info" in name for name in found)
    assert "conductor_service_serving{service=worker}" not in found, "it is not behind nginx"
    assert (
        found["conductor_status_success"],
        found["conductor_supervise_up"],
        found["conductor_definitions_valid"],
    ) == (1, 1, 1)


def test_what_happened_since_supervise_started(site: Site) -> None:
    host = site.host
    host.upgrade("r2", "web")
    entry = HistoryEntry(
        at=host.clock.now(),
        service="web",
        action="upgrade",
        outcome=Outcome.ROLLED_BACK,
        seconds=2.5,
        cut=2,
        waited=0.5,
    )
    History(host.store.directory).append(entry)
    host.monitor.totals = {"web": CheckTotals(passed=9, failed=1, seconds=0.25)}
    site.publish()
    found = samples(site)
    assert found["conductor_action_seconds_count{action=upgrade,outcome=done,service=web}"] == 1
    assert found["conductor_action_seconds_sum{action=upgrade,outcome=rolled-back,service=web}"] == 2.5
    assert found["conductor_change_step_seconds_count{step=gate}"] == 1
    assert found["conductor_health_check_seconds_count{service=web}"] == 10
    assert found["conductor_health_check_failures_total{service=web}"] == 1
    assert found["conductor_drain_cut_requests_total{service=web}"] == 2
    assert found["conductor_lock_wait_seconds_sum"] == 0.5
    assert found["conductor_pass_seconds_count"] == 2
    assert found["conductor_pass_last_success_timestamp_seconds"] == host.clock.seconds(host.clock.now())


def test_cron_jobs(site: Site) -> None:
    job = JobRow(
        service="worker", revision="r1", job="a", schedule="* * * * *", command="x", next_run=None, state=JobState.DONE,
        began="2026-01-31T08:00:00Z", seconds=1.5, exit_code=3, failures=2,
    )  # fmt: skip
    lost = msgspec.structs.replace(job, job="b", state=JobState.LOST, exit_code=None, seconds=None)
    never = msgspec.structs.replace(job, job="c", state=JobState.NEVER, began="", exit_code=None, seconds=None)
    site.publish(lambda document: msgspec.structs.replace(document, jobs=(job, lost, never, never)))
    found = samples(site)
    labels = "cron_job=a,schedule=* * * * *,service=worker"
    values = {
        name: found[f"conductor_job_{name}{{{labels}}}"]
        for name in ("last_exit_code", "last_seconds", "failures", "lost")
    }
    assert values == {"last_exit_code": 3, "last_seconds": 1.5, "failures": 2, "lost": 0}
    assert found["conductor_job_lost{cron_job=b,schedule=* * * * *,service=worker}"] == 1
    assert "conductor_job_last_exit_code{cron_job=c,schedule=* * * * *,service=worker}" not in found, "it has never run"


def test_troubles_of_supervise(site: Site) -> None:
    site.host.runtime.away = True
    site.publish(lambda document: msgspec.structs.replace(document, problem="line 3"))
    found = samples(site)
    assert (found["conductor_runtime_up"], found["conductor_definitions_valid"]) == (0, 0)
    assert found["conductor_pass_failures_total"] == 1
    site.clock.ahead = STALE_SECONDS + 1
    assert samples(site)["conductor_supervise_up"] == 0
    site.write(b"{")
    assert samples(site) == {"conductor_status_success": 0, "conductor_supervise_up": 0}


def test_a_revision_with_any_character(site: Site) -> None:
    def odd(document: Published) -> Published:
        one = msgspec.structs.replace(document.status.services[0], revision='a"b\\c\nd')
        return msgspec.structs.replace(document, status=msgspec.structs.replace(document.status, services=(one,)))

    site.publish(odd)
    assert any('revision=a"b\\c\nd' in name for name in samples(site))


EXAMPLES = ROOT / "examples" / "prometheus"
SUFFIXES = {"counter": ("_total",), "summary": ("_sum", "_count"), "gauge": ("",)}
VALUES: dict[str, set[str]] = {
    "action": {action for actions in get_args(HistoryAction) for action in get_args(actions)},
    "condition": {*ServiceCondition},
    "outcome": {*Outcome},
    "state": {*JobState, "active"},  # node_exporter's
}


@pytest.mark.parametrize("file", ["conductor.dashboard.json", "conductor.rules.yml"])
def test_examples_use_names_and_labels_that_are_published(site: Site, file: str) -> None:
    """Also where no sample is there yet. A misspelt value of a label would match nothing, and nobody would notice."""
    text = (EXAMPLES / file).read_text().replace('\\"', '"')
    families = list(text_string_to_metric_families(site.get("/metrics").body))
    published = {f"{family.name}{suffix}" for family in families for suffix in SUFFIXES[family.type]}
    used = set(re.findall(r"conductor_[a-z_]+", text))
    assert len(used) > 10
    assert used - published == set()
    matched = re.findall(r'(\w+) *(?:=~|!~|!=|=) *"([^"$]*)"', text)
    assert {label for label, _ in matched} >= {"action", "condition"}
    for label, values in matched:
        if label in VALUES:
            assert set(values.split("|")) <= VALUES[label], label


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_accepts_names_and_texts(site: Site) -> None:
    site.host.upgrade("r2", "web")
    site.publish()
    words = ["promtool", "check", "metrics"]
    done = subprocess.run(words, input=site.get("/metrics").body, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
