"""A fleet whose managers lose the majority and have it again: edges serve, exit codes are true, and nothing is left."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from conductor.errors import OperatorError
from tests.support import no_quorum
from tests.support.daemon_between import Fault
from tests.support.managers import NODES, Managers, fleet_managers

pytestmark = pytest.mark.long
STEPS = ("check shop", "start", "cutover shop", "wanted shop", "drain shop")
SHORT_SECONDS = 15.0
COMMAND_SECONDS = 900.0  # calls that are not answered take a minute each
REUNION_SECONDS = 400.0  # managers that were apart for long try again after minutes only
RECOVERY_SECONDS = 180.0
JOB_WAITS_SECONDS = 60  # for a leader


@pytest.fixture(scope="module")
def managers(images: None) -> Iterator[Managers]:
    with fleet_managers() as made:
        made.upgrade("h1", "r1")
        yield made


@pytest.mark.parametrize("lasts", ["short", "long"])
@pytest.mark.parametrize("step", STEPS)
def test_quorum_is_lost_at_a_step_of_an_upgrade(managers: Managers, step: str, lasts: str) -> None:
    """Short: it is back while the command waits for it. Long: it is back once the command has ended."""
    machines = tuple(managers.machines.values())
    before = managers.live()
    revision = "r2" if before != "r2" else "r3"
    lost = threading.Event()

    def lose() -> None:
        if not lost.is_set():
            lost.set()
            no_quorum.cut(machines)

    with managers.loads(*NODES) as loads, no_quorum.restored(machines), managers.watched("h1") as between:
        between.act_at(step, Fault("call", first=lose))
        process = managers.spawn_watched("h1", "service", "upgrade", "--id", "shop", "--revision", revision)
        assert lost.wait(120)
        if lasts == "short":
            time.sleep(SHORT_SECONDS)
            no_quorum.restore(machines)
        out, err = process.communicate(timeout=COMMAND_SECONDS)
        no_quorum.restore(machines)
        print(f"exit code {process.returncode}", err)
        assert process.returncode in {0, 1, OperatorError.exit_code}, (out, err)
        machines[0].wait_for(lambda: managers.all_reachable("h1"), "the managers", REUNION_SECONDS)
        if process.returncode == 0:
            assert managers.left(revision) == []
        else:
            managers.settle(revision if process.returncode == OperatorError.exit_code else before, RECOVERY_SECONDS)
        results = [load.stop() for load in loads]
    assert [one.lost for one in results] == [0, 0, 0], results


def test_a_run_of_a_job_that_no_manager_could_claim_is_reported(managers: Managers) -> None:
    machines = tuple(managers.machines.values())
    managers.conductor("h2", "service", "upgrade", "--id", "nightly", "--revision", "r1")
    for one in machines:
        one.wait_for(lambda one=one: one.exists("/etc/cron.d/conductor-nightly"), "the crontab", 60)
    machines[0].wait_for(lambda: managers.job_minutes(*NODES), "a run", 180)
    with no_quorum.restored(machines):
        time.sleep(60 - time.time() % 60 - 10 if time.time() % 60 < 50 else 0)
        no_quorum.cut(machines)
        skipped = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() + 10))
        time.sleep(10 + JOB_WAITS_SECONDS + 20)
    machines[0].wait_for(lambda: managers.all_reachable("h1"), "the managers", REUNION_SECONDS)
    time.sleep(90)  # the next one runs
    for node in NODES:
        found = json.loads(managers.conductor(node, "service", "history", "--id", "nightly", "--json").stdout)
        runs = [one for one in found["history"] if one["action"] == "cron" and one["began"].startswith(skipped)]
        assert [one["outcome"] for one in runs] == ["failed"], (node, found)
        assert "does not have a leader" in runs[0]["reason"] or "did not respond" in runs[0]["reason"], runs
        print(node, runs, managers.conductor(node, "cron", "list").stdout)
    minutes = managers.job_minutes(*NODES)
    assert skipped not in minutes
    later = sorted(one for one in minutes if one > skipped)  # the run of one minute may have waited until the next one
    passed = datetime.fromisoformat(later[-1]) - datetime.fromisoformat(skipped)
    assert len(later) <= passed.total_seconds() / 60, later
    managers.conductor("h2", "cron", "remove", "--id", "nightly")
