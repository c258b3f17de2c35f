"""kill -9 at each point of an upgrade: r1 or r2 keeps serving, and the next upgrade first recovers the interrupted one."""

import contextlib
import json
import signal
import time
from collections.abc import Callable

import pytest

from tests.support.aftermath import QUICK, nothing_left_behind
from tests.support.commands import Spawned
from tests.support.host import TestHost, merged
from tests.support.odd_clients import EarlyBird, SlowUpload

pytestmark = pytest.mark.both_ways

STUCK = merged(QUICK, {"env": {"FAULT_r2": "never"}, "health": {"start_timeout": "30s"}})
DRAIN_SECONDS = 3.0
Uploading = Callable[[float], SlowUpload]


def begin(host: TestHost) -> Spawned:
    """Start the upgrade that is killed."""
    return host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")


def kill_when(host: TestHost, upgrade: Spawned, condition: Callable[[], object], what: str) -> None:
    """Send kill -9 as soon as `condition` holds."""
    host.wait_for(condition, what)
    assert upgrade.kill().code == -signal.SIGKILL
    assert host.journal() is not None
    status = host.conductor("service", "status", "--id", "web", "--json", check=True)
    (row,) = json.loads(status.stdout)["services"]
    (note,) = [one for one in row["notes"] if one["kind"] == "interrupted"]
    assert (note["action"], note["revision"]) == ("upgrade", "r2")


def recovered_by_the_next(host: TestHost, outcome: str) -> None:
    """Upgrade to r3; check that this command reports the interrupted upgrade, recovers it, and then makes its own change."""
    after = host.upgrade("r3", "web", check=True)
    assert after.stderr.startswith("the upgrade of web to r2, which started at 20")
    assert "web is running r3 with 1 replica" in after.stderr
    assert [(entry["to"], entry["outcome"]) for entry in host.history()[-2:]] == [("r2", outcome), ("r3", "done")]
    nothing_left_behind(host, "r3")


def test_while_containers_start(serving: TestHost) -> None:
    """The journal is written before the first container is created, so that every container belongs to a change."""
    upgrade = begin(serving)
    kill_when(serving, upgrade, lambda: len(serving.containers("web")) == 2, "the new container to exist")
    assert serving.get().revision == "r1"
    recovered_by_the_next(serving, "recovered-rolled-back")


def test_at_the_gate(serving: TestHost) -> None:
    serving.define({"web": STUCK})
    upgrade = begin(serving)
    kill_when(serving, upgrade, lambda: serving.revisions() == ["r1", "r2"], "the gate")
    assert serving.get().revision == "r1"
    recovered_by_the_next(serving, "recovered-rolled-back")


@pytest.mark.by_reload
def test_after_the_rename_of_nginxs_files(serving: TestHost) -> None:
    """New files on disk, the flag up, no reload yet: r1 serves. A reload by another program routes to r2, which is healthy."""
    serving.define({"web": QUICK}, host_extra={"nginx": {"announce": "5s"}})
    flag = serving.runtime_dir / "nginx" / "announce"
    with contextlib.closing(EarlyBird(serving.url())):
        upgrade = begin(serving)
        kill_when(serving, upgrade, flag.exists, "the announce")
    new = next(c.address for c in serving.containers("web") if c.revision == "r2")
    assert f"server {new}:8080" in (serving.nginx.include_dir / "web.conf").read_text()
    assert serving.get().revision == "r1"
    serving.nginx.reload()
    serving.wait_for(lambda: serving.get().revision == "r2", "the reload by another program")
    recovered_by_the_next(serving, "recovered-rolled-back")


@pytest.mark.by_reload
def test_after_the_reload_before_the_commit(serving: TestHost, uploading: Uploading) -> None:
    """r2 has requests already. They finish before r2's container is removed."""
    serving.define({"web": QUICK}, host_extra={"nginx": {"announce": "5s"}})
    with contextlib.closing(EarlyBird(serving.url())):
        upgrade = begin(serving)
        flag = serving.runtime_dir / "nginx" / "announce"
        serving.wait_for(flag.exists, "the announce")
        upgrade.signal(signal.SIGSTOP)
        serving.nginx.reload()
        serving.wait_for(lambda: serving.get().revision == "r2", "the reload")
        kill_when(serving, upgrade, lambda: True, "nothing")
    upload = uploading()
    upload.finish_after(DRAIN_SECONDS)
    time.sleep(0.2)
    recovered_by_the_next(serving, "recovered-rolled-back")
    assert upload.result(10).revision == "r2"


@pytest.mark.by_reload
def test_after_the_commit(serving: TestHost, uploading: Uploading) -> None:
    upload = uploading()
    wanted = serving.state_dir / "services" / "web.json"
    upgrade = begin(serving)
    kill_when(serving, upgrade, lambda: json.loads(wanted.read_text())["release"]["revision"] == "r2", "the commit")
    assert serving.get().revision == "r2"
    upload.finish_after(DRAIN_SECONDS)
    recovered_by_the_next(serving, "recovered")
    assert upload.result(10).revision == "r1"


@pytest.mark.by_reload
def test_during_the_drain(serving: TestHost, uploading: Uploading) -> None:
    """The old container is in use, so the next upgrade waits for its requests too, also an upgrade to r2 again."""
    upload = uploading()
    upgrade = begin(serving)
    began = time.monotonic()
    kill_when(
        serving, upgrade,
        lambda: "   drain  " in upgrade.stderr and time.monotonic() > began + 1.5, "the drain",
    )  # fmt: skip
    assert (serving.get().revision, serving.revisions()) == ("r2", ["r1", "r2"])
    upload.finish_after(DRAIN_SECONDS)
    after = serving.upgrade("r2", check=True)
    assert ", was interrupted: finishing it\n" in after.stderr
    assert serving.history()[-1]["outcome"] == "recovered"
    assert "web is already running r2 with 1 replica; nothing to do" in after.stderr
    assert upload.result(10).revision == "r1"
    nothing_left_behind(serving, "r2")


@pytest.mark.by_reload
@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after it"])
def test_the_recovery_is_killed_too(serving: TestHost, uploading: Uploading, committed: bool) -> None:
    """The command after it recovers the same change."""
    upload = uploading() if committed else None
    serving.define({"web": QUICK if committed else STUCK})
    upgrade = begin(serving)
    if committed:
        kill_when(serving, upgrade, lambda: "   drain  " in upgrade.stderr, "the drain")
    else:
        kill_when(serving, upgrade, lambda: serving.revisions() == ["r1", "r2"], "the gate")
    second = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r3")
    kill_when(serving, second, lambda: ", was interrupted: " in second.stderr, "the recovery")
    if upload is not None:
        upload.finish_after(DRAIN_SECONDS)
    recovered_by_the_next(serving, "recovered" if committed else "recovered-rolled-back")
    assert upload is None or upload.result(10).revision == "r1"


def test_a_container_of_the_interrupted_change_is_gone_already(serving: TestHost) -> None:
    """An operator has removed it by hand."""
    serving.define({"web": STUCK})
    upgrade = begin(serving)
    kill_when(serving, upgrade, lambda: serving.revisions() == ["r1", "r2"], "the gate")
    (new,) = [c for c in serving.containers("web") if c.revision == "r2"]
    serving.daemon.api.remove_container(new.id, force=True)
    recovered_by_the_next(serving, "recovered-rolled-back")


def test_the_first_deployment_is_killed(host: TestHost) -> None:
    host.define({"web": merged(STUCK, {"env": {"FAULT_r1": "never", "FAULT_r2": None}})})
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r1")
    host.wait_for(lambda: host.revisions() == ["r1"], "the gate")
    upgrade.kill()
    after = host.upgrade("r2", check=True)
    assert "the upgrade of web to r1, which started at 20" in after.stderr
    nothing_left_behind(host, "r2")
