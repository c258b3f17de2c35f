"""`conductor supervise` with a dockerd of these tests' own that is stopped, restarted, or hangs."""

import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.aftermath import nothing_left_behind
from tests.support.host import TestHost
from tests.support.images import APP
from tests.support.manager import Manager
from tests.support.private_daemon import PrivateDaemon
from tests.support.supervised import Supervised

SPACING_SECONDS = 5.0
WATCHDOG_SECONDS = 4.0
MEBIBYTES = 1024


@pytest.fixture(scope="module")
def dockerd(images: None) -> Iterator[PrivateDaemon]:
    directory = Path(tempfile.mkdtemp(prefix=f"conductor-test-{os.getpid()}-"))
    try:
        with PrivateDaemon(directory, MEBIBYTES) as made:
            made.load(f"{APP}:r1")
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def sup(dockerd: PrivateDaemon) -> Iterator[Supervised]:
    """Two replicas of `web` serve there. After the test the daemon is restarted."""
    with TestHost(dockerd.url) as host:
        made = Supervised(host)
        try:
            host.define({"web": made.service()})
            host.upgrade("r1", check=True)
            yield made
        finally:
            print(f"log of supervise:\n{made.log}")
            dockerd.stop()
            dockerd.start()
            made.end()


@pytest.fixture
def manager(sup: Supervised) -> Iterator[Manager]:
    with Manager(sup.host.directory / "notify.sock", watchdog_seconds=WATCHDOG_SECONDS) as made:
        yield made


def starts(host: TestHost, since: float) -> Counter[str]:
    """Return how often each of the host's containers was started, from the daemon's events."""
    filters = {"type": "container", "event": "start", "label": [f"conductor.instance={host.instance}"]}
    seen = host.daemon.api.events(since=int(since), until=int(time.time()), filters=filters, decode=True)
    return Counter(event["id"] for event in seen)


@pytest.mark.parametrize("seconds", [0, pytest.param(30, marks=pytest.mark.long)])
def test_it_is_stopped_and_started(sup: Supervised, dockerd: PrivateDaemon, manager: Manager, seconds: int) -> None:
    """It stops all containers before it ends. Afterwards the count is right, and no container was started twice."""
    host = sup.host
    before = {c.id for c in sup.running()}
    spawned = sup.start(env=manager.environment)
    time.sleep(SPACING_SECONDS)  # since the replicas were created: it may act at once
    dockerd.stop()
    if seconds:
        host.wait_for(lambda: sup.status()["text"].startswith("the last pass failed"), "the failed pass", 12)
        time.sleep(seconds)
    began = time.time()
    dockerd.start()
    after = sup.wait_until_right(2)
    same = len(before & {c.id for c in after})
    print(f"both run again {time.time() - began:.1f} s after the start of dockerd, {same} of them in place")
    host.wait_for(lambda: host.get().status == 200, "an answer")
    sup.holds_for(SPACING_SECONDS + 1, lambda: len(sup.running()) == 2)
    assert starts(host, began) == {container.id: 1 for container in after}
    assert spawned.running()
    assert manager.longest_silence() < WATCHDOG_SECONDS
    waits = [line for line in sup.log.splitlines() if line.startswith("the last pass failed")]
    assert len(waits) == len(set(waits))  # a line for each reason: while dockerd stops there may be two
    nothing_left_behind(host, "r1", count=2)


@pytest.mark.long
def test_it_hangs_for_a_minute(sup: Supervised, dockerd: PrivateDaemon, manager: Manager) -> None:
    """A replica is killed meanwhile. Nothing is done while Docker is not responding; then one replica is started, once."""
    host = sup.host
    spawned = sup.start(env=manager.environment)
    time.sleep(SPACING_SECONDS)
    killed, other = sup.running()
    process = host.daemon.api.inspect_container(killed.id)["State"]["Pid"]
    began = time.time()
    dockerd.freeze()
    os.kill(process, signal.SIGKILL)
    time.sleep(60)
    assert spawned.running()
    dockerd.thaw()
    thawed = time.time()
    host.wait_for(lambda: killed.id not in {c.id for c in sup.running()}, "dockerd to list it as exited", 20)
    after = sup.wait_until_right(2, timeout=30)
    print(f"two run {time.time() - thawed:.1f} s after it was thawed")
    sup.holds_for(SPACING_SECONDS + 1, lambda: len(sup.running()) == 2)
    assert other.id in {c.id for c in after}
    assert sum(starts(host, began).values()) == 1
    assert manager.longest_silence() < WATCHDOG_SECONDS
    nothing_left_behind(host, "r1", count=2)
