"""`conductor supervise` on real containers and a real nginx: unhealthy, missing and surplus replicas."""

import contextlib
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import docker
import pytest

from conductor.supervise.schedule import BURST_PASSES, PASS_SECONDS
from tests.support.aftermath import nothing_left_behind
from tests.support.daemon_between import DaemonBetween
from tests.support.host import TestHost
from tests.support.images import APP
from tests.support.load_tally import MOST_LOSSES_TOLD
from tests.support.supervised import Supervised, cpu_seconds, gaps

SPACING_SECONDS = 5.0
LONGEST_SECONDS = 66 + 5  # the last delay with its jitter, and a start
NOISE_PER_SECOND, NOISY = 50, 5  # events, from so many containers
MOST_CPU = 0.25


# Unhealthy replicas.


@pytest.mark.parametrize("fault", ["500", pytest.param("hang", marks=pytest.mark.long), "silent"])
def test_one_of_two_is_unhealthy(sup: Supervised, fault: str) -> None:
    """It loses its traffic and is replaced. Nothing of it is left."""
    sup.start()
    unhealthy, healthy = sup.running()
    sup.set_fault(fault, unhealthy)
    sup.host.wait_for(lambda: sup.served() == {healthy.address}, "the unhealthy replica to lose its traffic", 10)
    after = sup.wait_until_right(2)
    assert unhealthy.address not in {c.address for c in after}
    assert healthy.id in {c.id for c in after}
    sup.host.wait_for(lambda: len(sup.events.of("start")) == 1, "the event")
    nothing_left_behind(sup.host, "r1", count=2)
    assert sup.started() == ["repair"]
    line = sup.host.history()[-1]
    assert (line["action"], line["command"], line["outcome"], line["count"]) == ("repair", "supervise", "done", 2)


def test_failures_below_the_threshold_are_ignored(sup: Supervised) -> None:
    """F F S F F S … is two failures in a row. The third failure in a row makes a replica unhealthy."""
    sup.host.define({"web": sup.service(health={"timeout": "5s"})})  # a late success is not a third failure
    sup.host.conductor("service", "restart", "--id", "web", check=True)
    sup.start()
    failing, healthy = sup.running()
    began = time.time()
    sup.set_fault("FFS", failing)
    sup.host.wait_for(lambda: len(sup.checks(failing, began)) >= 12, "twelve checks", 60)
    assert {c.id for c in sup.running()} == {failing.id, healthy.id}
    assert sup.started() == []
    sup.set_fault("FFFS", failing)
    sup.host.wait_for(lambda: failing.id not in {c.id for c in sup.running()}, "its replacement")
    assert healthy.id in {c.id for c in sup.wait_until_right(2)}


def test_checks_stay_on_time_beside_unhealthy_services(sup: Supervised) -> None:
    """Half of them within 20% of the interval of 2 s, and none as late as a timeout of 5 s, beside services with each fault, and
    one that fails below the threshold."""
    host, seconds = sup.host, 2.0
    healthy = sup.service(health={"interval": "2s"})
    slow = sup.service(count=1, nginx=None, health={"timeout": "5s", "start_timeout": "60s"})
    host.define({"web": healthy, **dict.fromkeys(("errs", "hangs", "silent", "flaps"), slow)})
    words = [word for service in ("errs", "hangs", "silent", "flaps") for word in ("--id", service)]
    host.conductor("service", "upgrade", *words, "--revision", "r1", check=True)
    host.conductor("service", "restart", "--id", "web", check=True)
    sup.start()
    flapping = sup.running("flaps")
    sup.set_fault("FFS", *flapping)
    time.sleep(3)  # replicas that may be starting are checked more often
    began = time.time()
    while time.time() < began + 16:
        for service, fault in (("errs", "500"), ("hangs", "hang"), ("silent", "silent")):
            sup.set_fault(fault, *sup.running(service))  # replacements too
        time.sleep(0.5)
    between = [gap for one in sup.running() for gap in gaps(sup.checks(one, began + 1))]
    print("seconds between checks of web: " + ", ".join(f"{gap:.2f}" for gap in between))
    assert len(between) >= 10
    assert 0.8 * seconds <= statistics.median(between) <= 1.2 * seconds
    assert max(between) < 2 * seconds
    assert {c.id for c in sup.running("flaps")} == {c.id for c in flapping}


def test_all_replicas_are_paused_by_docker_pause(sup: Supervised) -> None:
    sup.start()
    before = sup.running()
    for container in before:
        sup.host.daemon.api.pause(container.id)
    after = sup.wait_until_right(2, timeout=60)
    assert not {c.id for c in before} & {c.id for c in after}
    assert len(sup.started()) <= 4


def test_all_replicas_are_unhealthy_for_a_shared_cause(sup: Supervised) -> None:
    """They keep their traffic, and one at a time is replaced. When the cause ends, all have traffic at once, and no request is
    lost."""
    host, serving, running = sup.host, [], []

    def watched(condition: Callable[[], bool]) -> bool:
        addresses = {c.address for c in sup.running()}
        serving.append(len(sup.served() & addresses))
        running.append(len(addresses))
        return condition()

    sup.start()
    before = sup.served()
    with host.load(busy=4, idle=4) as load:
        sup.set_fault("500")
        host.wait_for(lambda: watched(lambda: "cannot repair web" in sup.log), "a replacement to fail", 20)
        assert sup.served() == before
        steady = len(serving)
        sup.clear_faults()
        host.wait_for(lambda: watched(lambda: not sup.service_status().get("until")), "no due action", 20)
        assert sup.wait_until_right(2)
        counted = load.stop()
    assert min(serving) >= 1
    assert min(serving[steady:]) == 2
    assert max(running) == 3
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"


def test_one_of_two_is_killed_under_load(sup: Supervised) -> None:
    """Its own requests are lost. Once it has left nginx, no request is lost."""
    sup.start()
    killed, healthy = sup.running()
    with sup.host.load(busy=8, idle=8) as load:
        old = sup.host.nginx.workers()
        sup.host.kill(killed.id)
        sup.host.wait_for(lambda: sup.served() == {healthy.address}, "it to leave nginx", 10)
        sup.host.wait_for(lambda: not old & sup.host.nginx.workers(), "the old workers to exit")
        left = time.time()
        sup.wait_until_right(2)
        load.run_for(1.0)
        counted = load.stop()
    sent = [(loss["at"] - loss["after"], loss) for loss in counted.told if loss["kind"] in counted.losses]
    late = [loss for at, loss in sent if at > left]
    print(f"lost before it left nginx: {counted.lost - len(late)}, after: {len(late)}")
    assert len(counted.told) < MOST_LOSSES_TOLD
    assert late == [], f"{counted}\n{late[:10]}"


# More or fewer than wanted.


def test_nginx_refuses_its_configuration(sup: Supervised) -> None:
    """A file that is not Conductor's is invalid. Exited replicas are started again at the addresses that nginx serves."""
    host = sup.host
    sup.start()
    before = {c.id for c in sup.running()}
    time.sleep(SPACING_SECONDS)
    other = host.nginx.add_server("other", "server { lisen 80; }\n")
    for container in before:
        host.kill(container)
    host.wait_for(lambda: {c.id for c in sup.running()} == before, f"both to run again\n{sup.log}", 20)
    host.wait_for(lambda: host.get().status == 200, "an answer")
    host.wait_for(lambda: f'unknown directive "lisen" in {other}:1' in sup.log, f"the report\n{sup.log}")
    other.unlink()
    assert {c.id for c in sup.wait_until_right(2)} == before


def test_one_of_two_is_removed_by_hand(sup: Supervised) -> None:
    sup.start()
    (gone, stays) = sup.running()
    sup.host.daemon.api.remove_container(gone.id, force=True)
    after = sup.wait_until_right(2)
    assert stays.id in {c.id for c in after}
    sup.host.wait_for(lambda: len(sup.events.of("start")) == 1, "the event")
    sup.holds_for(1.0, lambda: len(sup.events.of("start")) == 1)
    nothing_left_behind(sup.host, "r1", count=2)


def test_a_surplus_replica_finishes_its_requests(sup: Supervised) -> None:
    """Three replicas run, two are wanted. Requests are shorter than the announce, which cannot reach longer ones."""
    host = sup.host
    host.conductor("service", "scale", "--id", "web", "--count", "3", check=True)
    wanted = json.loads((host.state_dir / "services" / "web.json").read_text())
    with host.load(path="/slow?s=0.3", busy=9, idle=0) as load:
        (host.state_dir / "services" / "web.json").write_text(json.dumps({**wanted, "scale": None}))
        sup.start()
        sup.wait_until_right(2)
        counted = load.stop()
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"
    assert sup.events.of("start") == []


def test_containers_of_others_are_left_alone(sup: Supervised) -> None:
    host, api = sup.host, sup.host.daemon.api
    others = [
        api.create_container(f"{APP}:r1", ["sleep", "60"], labels=labels, name=f"{host.network}-{number}")["Id"]
        for number, labels in enumerate(({}, {"conductor.instance": f"{host.instance}x", "conductor.service": "web"}))
    ]
    try:
        api.start(others[0])
        sup.start()
        host.kill(sup.running()[0].id)
        sup.wait_until_right(2)
        assert [api.inspect_container(one)["State"]["Status"] for one in others] == ["running", "created"]
    finally:
        for one in others:
            api.remove_container(one, force=True)


# Noise.


def make_noise(host: TestHost, container: str, seconds: float) -> int:
    """Pause and unpause a container again and again; return the number of events."""
    began, events = time.monotonic(), 0
    while (now := time.monotonic()) < began + seconds:
        for act in (host.daemon.api.pause, host.daemon.api.unpause):
            with contextlib.suppress(docker.errors.APIError):  # Docker 20.10 may not list it as paused yet
                act(container)
                events += 1
        time.sleep(max(0.0, 2 * NOISY / NOISE_PER_SECOND - (time.monotonic() - now)))
    return events


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.long)])
def test_many_events_cause_few_passes(sup: Supervised, seconds: int) -> None:
    """Five containers of a service that was never deployed are paused and unpaused, together fifty times a second."""
    host = sup.host
    with DaemonBetween(host.directory / "counting.sock") as between:
        host.define({"web": sup.service()}, host_extra={"docker": between.url})
        spawned = sup.start()
        time.sleep(1)
        labels = {"conductor.instance": host.instance, "conductor.service": "other", "conductor.kind": "service"}
        api = host.daemon.api
        noisy = [api.create_container(f"{APP}:r1", ["sleep", "600"], labels=labels)["Id"] for _ in range(NOISY)]
        for one in noisy:
            api.start(one)
        between.calls.clear()
        before, began = cpu_seconds(spawned.pid), time.monotonic()
        with ThreadPoolExecutor(NOISY) as pool:
            events = sum(pool.map(lambda one: make_noise(host, one, seconds), noisy))
        took = time.monotonic() - began
        used = cpu_seconds(spawned.pid) - before
    lists = [call for call in between.calls if "/containers/json" in call]
    print(f"{events} events in {took:.1f} s: {len(lists)} list calls, {used / took:.1%} of a core")
    most = BURST_PASSES * (took / PASS_SECONDS + 1)
    assert len(lists) <= most < events
    assert used / took <= MOST_CPU


@pytest.mark.long
def test_exits_at_once_for_three_minutes(sup: Supervised) -> None:
    """Starts are 5 s to about a minute apart, without end. Once fixed, it runs again within one delay and its boot."""
    host, broken = sup.host, sup.sick / "broken"
    words = "test ! -e /sick/broken || exit 1; exec python3 -I -S -B /sick/app.py"
    host.define({"web": sup.service(count=1, command=["sh", "-c", words])})
    host.conductor("service", "restart", "--id", "web", check=True)
    sup.start()
    broken.touch()
    host.kill(sup.running()[0].id)
    sup.holds_for(180, lambda: host.wanted()["release"]["revision"] == "r1")
    starts = sup.events.of("start")
    print("seconds between starts: " + ", ".join(f"{gap:.1f}" for gap in gaps(starts)))
    assert len(starts) >= 5
    assert min(gaps(starts)) >= SPACING_SECONDS
    assert max(gaps(starts)) <= LONGEST_SECONDS
    assert sup.started() == ["repair"]  # retries are not logged
    broken.unlink()
    sup.wait_until_right(1, timeout=LONGEST_SECONDS)
    assert sup.events.of("start")[-1] - starts[-1] <= LONGEST_SECONDS
