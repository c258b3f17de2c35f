"""kill -9 at each point of an upgrade: r1 or r2 serves on, and the next upgrade settles what was begun before it begins."""

import contextlib
import json
import signal
import time
from collections.abc import Callable

import pytest

from tests.support.aftermath import QUICK, nothing_left_behind
from tests.support.commands import Result, Spawned
from tests.support.host import TestHost, merged
from tests.support.odd_clients import EarlyBird, SlowUpload

STUCK = merged(QUICK, {"env": {"FAULT_r2": "never"}, "health": {"start_timeout": "30s"}})
DRAIN_SECONDS = 3.0
Uploading = Callable[[float], SlowUpload]


def begin(host: TestHost) -> Spawned:
    """The upgrade that dies."""
    return host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")


def die(host: TestHost, upgrade: Spawned, condition: Callable[[], object], what: str) -> None:
    """kill -9 as soon as `condition` holds."""
    host.wait_for(condition, what)
    assert upgrade.kill().code == -signal.SIGKILL
    assert host.journal() is not None
    status = host.conductor("service", "status", "--id", "web", check=True)
    assert "  the upgrade to r2 begun 20" in status.stdout
    assert " died; the next one settles it\n" in status.stdout


def settled_by_the_next(host: TestHost, how: str, *more: str) -> Result:
    """An upgrade to r3 tells what it found, ends that, and then does its own."""
    after = host.upgrade("r3", "web", *more, check=True)
    assert after.stderr.startswith("the upgrade of web (r2), begun 20")
    assert f", died: {how} it first\n" in after.stderr
    assert "web runs r3: 1 of 1 healthy" in after.stderr
    nothing_left_behind(host, "r3")
    return after


def outcomes(host: TestHost) -> list[tuple[str, str]]:
    """The last two lines of the history: (to, outcome)."""
    return [(line["to"], line["outcome"]) for line in host.history()[-2:]]


def test_while_containers_start(serving: TestHost) -> None:
    """The journal is there before the first container, so that none is ever nobody's."""
    upgrade = begin(serving)
    die(serving, upgrade, lambda: len(serving.containers("web")) == 2, "the new container to exist")
    assert serving.get().revision == "r1"
    settled_by_the_next(serving, "undoing")


def test_at_the_gate(serving: TestHost) -> None:
    serving.define({"web": STUCK})
    upgrade = begin(serving)
    die(serving, upgrade, lambda: serving.revisions() == ["r1", "r2"], "the gate")
    assert serving.get().revision == "r1"
    settled_by_the_next(serving, "undoing")
    assert outcomes(serving) == [("r2", "undone after a crash"), ("r3", "done")]


def test_after_the_rename_of_nginxs_files(serving: TestHost) -> None:
    """New files on disk, the flag up, no reload yet: r1 serves. A reload by anybody now reaches r2, which is healthy."""
    serving.define({"web": QUICK}, host_extra={"nginx": {"announce": "5s"}})
    flag = serving.runtime_dir / "nginx" / "announce"
    with contextlib.closing(EarlyBird(serving.url())):
        upgrade = begin(serving)
        die(serving, upgrade, flag.exists, "the announce")
    new = next(c.address for c in serving.containers("web") if c.revision == "r2")
    assert f"server {new}:8080" in (serving.nginx.include_dir / "web.conf").read_text()
    assert serving.get().revision == "r1"
    serving.nginx.reload()
    serving.wait_for(lambda: serving.get().revision == "r2", "the reload of somebody else")
    settled_by_the_next(serving, "undoing")


def test_after_the_reload_before_the_commit(serving: TestHost, uploading: Uploading) -> None:
    """r2 has requests already; they are moved back and let finish before r2's container goes."""
    serving.define({"web": QUICK}, host_extra={"nginx": {"announce": "5s"}})
    with contextlib.closing(EarlyBird(serving.url())):
        upgrade = begin(serving)
        flag = serving.runtime_dir / "nginx" / "announce"
        serving.wait_for(flag.exists, "the announce")
        upgrade.signal(signal.SIGSTOP)
        serving.nginx.reload()
        serving.wait_for(lambda: serving.get().revision == "r2", "the reload")
        die(serving, upgrade, lambda: True, "nothing")
    upload = uploading(DRAIN_SECONDS)
    time.sleep(0.2)
    settled_by_the_next(serving, "undoing")
    assert upload.result(10).revision == "r2"


def test_after_the_commit(serving: TestHost, uploading: Uploading) -> None:
    upload = uploading(DRAIN_SECONDS)
    wanted = serving.state_dir / "services" / "web.json"
    upgrade = begin(serving)
    die(serving, upgrade, lambda: json.loads(wanted.read_text())["release"]["revision"] == "r2", "the commit")
    assert serving.get().revision == "r2"
    settled_by_the_next(serving, "finishing")
    assert upload.result(10).revision == "r1"
    assert outcomes(serving) == [("r2", "done, finished after a crash"), ("r3", "done")]


def test_during_the_drain(serving: TestHost, uploading: Uploading) -> None:
    """The old container is in use, so the next upgrade lets it finish too; asking for r2 again is enough."""
    upload = uploading(DRAIN_SECONDS)
    upgrade = begin(serving)
    began = time.monotonic()
    die(
        serving, upgrade,
        lambda: "   drain  " in upgrade.stderr and time.monotonic() > began + 1.5, "the drain",
    )  # fmt: skip
    assert (serving.get().revision, serving.revisions()) == ("r2", ["r1", "r2"])
    after = serving.upgrade("r2", check=True)
    assert ", died: finishing it first\n" in after.stderr
    assert "web already runs r2: 1 of 1 healthy; nothing to do" in after.stderr
    assert upload.result(10).revision == "r1"
    nothing_left_behind(serving, "r2")


@pytest.mark.parametrize("committed", [False, True], ids=["before the commit", "after it"])
def test_the_settling_dies_too(serving: TestHost, uploading: Uploading, committed: bool) -> None:
    """And is settled by the one after."""
    upload = uploading(DRAIN_SECONDS + 3) if committed else None
    serving.define({"web": QUICK if committed else STUCK})
    upgrade = begin(serving)
    if committed:
        die(serving, upgrade, lambda: "   drain  " in upgrade.stderr, "the drain")
    else:
        die(serving, upgrade, lambda: serving.revisions() == ["r1", "r2"], "the gate")
    second = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r3")
    die(serving, second, lambda: "it first\n" in second.stderr, "the settling")
    settled_by_the_next(serving, "finishing" if committed else "undoing")
    assert upload is None or upload.result(10).revision == "r1"


def test_a_container_of_the_dead_change_is_gone_already(serving: TestHost) -> None:
    """Somebody has cleaned up by hand: that is fine too."""
    serving.define({"web": STUCK})
    upgrade = begin(serving)
    die(serving, upgrade, lambda: serving.revisions() == ["r1", "r2"], "the gate")
    (dead,) = [c for c in serving.containers("web") if c.revision == "r2"]
    serving.daemon.api.remove_container(dead.id, force=True)
    settled_by_the_next(serving, "undoing")


def test_the_first_deployment_dies(host: TestHost) -> None:
    host.define({"web": merged(STUCK, {"env": {"FAULT_r1": "never", "FAULT_r2": None}})})
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r1")
    host.wait_for(lambda: host.revisions() == ["r1"], "the gate")
    upgrade.kill()
    after = host.upgrade("r2", check=True)
    assert "the upgrade of web (r1), begun 20" in after.stderr
    nothing_left_behind(host, "r2")
