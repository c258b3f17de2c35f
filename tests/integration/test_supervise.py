"""`conductor supervise` on real containers and a real nginx: each way to be ill, to be missing, to be too many."""

import contextlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import docker
import pytest

from conductor.supervise.schedule import CLOSE_LOOKS, PASS_SECONDS
from tests.support.aftermath import nothing_left_behind
from tests.support.daemon_between import DaemonBetween
from tests.support.host import TestHost
from tests.support.images import APP
from tests.support.load import Load
from tests.support.supervised import Supervised, cpu_seconds, gaps

SPACING_SECONDS = 5.0
LONGEST_SECONDS = 66 + 5  # the last delay with its jitter, and a start
NOISE_PER_SECOND, NOISY = 50, 5  # events, from so many containers
MOST_CPU = 0.25


# Ill containers.


@pytest.mark.parametrize("fault", ["500", pytest.param("hang", marks=pytest.mark.long), "silent"])
def test_one_of_two_is_ill(sup: Supervised, fault: str) -> None:
    """It leaves nginx, is replaced, and its replacement serves; nothing of it is left."""
    sup.start()
    ill, well = sup.running()
    sup.make(fault, ill)
    sup.host.wait_for(lambda: sup.served() == {well.address}, "the ill one to leave nginx", 10)
    after = sup.settled(2)
    assert ill.address not in {c.address for c in after}
    assert well.id in {c.id for c in after}
    assert len(sup.events.of("start")) == 1
    nothing_left_behind(sup.host, "r1", count=2)
    assert sup.said.count("healthy: acting") == 1
    line = sup.host.history()[-1]
    assert (line["action"], line["outcome"], line["count"]) == ("supervise", "done", 2)


def test_one_that_flaps_below_the_threshold_is_left_alone(sup: Supervised) -> None:
    """F F S F F S … is two failures in a row, not three; one more is too many."""
    sup.start()
    ill, well = sup.running()
    began = time.time()
    sup.make("FFS", ill)
    sup.host.wait_for(lambda: len(sup.asked(ill, began)) >= 12, "twelve checks")
    assert {c.id for c in sup.running()} == {ill.id, well.id}
    assert "acting" not in sup.said
    sup.make("FFFS", ill)
    sup.host.wait_for(lambda: ill.id not in {c.id for c in sup.running()}, "its replacement")
    assert well.id in {c.id for c in sup.settled(2)}


def test_checks_of_others_stay_on_time_beside_the_ill(sup: Supervised) -> None:
    """Each way to be ill at once, one flapping below the threshold (F F S …); within 20 % of the interval of 2 s."""
    host, seconds = sup.host, 2.0
    well = sup.service(health={"interval": "2s"})
    slow = sup.service(count=1, nginx=None, health={"timeout": "5s", "start_timeout": "60s"})
    host.define({"web": well, **dict.fromkeys(("errs", "hangs", "silent", "flaps"), slow)})
    words = [word for service in ("errs", "hangs", "silent", "flaps") for word in ("--id", service)]
    host.conductor("service", "upgrade", *words, "--revision", "r1", check=True)
    host.conductor("service", "restart", "--id", "web", check=True)
    sup.start()
    flapping = sup.running("flaps")
    sup.make("FFS", *flapping)
    time.sleep(3)  # those that may be starting are asked more often
    began = time.time()
    while time.time() < began + 16:
        for service, fault in (("errs", "500"), ("hangs", "hang"), ("silent", "silent")):
            sup.make(fault, *sup.running(service))  # replacements too
        time.sleep(0.5)
    between = [gap for one in sup.running() for gap in gaps(sup.asked(one, began + 1))]
    print("between checks of the well: " + ", ".join(f"{gap:.2f}" for gap in between))
    assert len(between) >= 10
    assert all(0.8 * seconds <= gap <= 1.2 * seconds for gap in between)
    assert {c.id for c in sup.running("flaps")} == {c.id for c in flapping}


def test_all_are_frozen_by_hand(sup: Supervised) -> None:
    sup.start()
    before = sup.running()
    for container in before:
        sup.host.daemon.api.pause(container.id)
    after = sup.settled(2, timeout=60)
    assert not {c.id for c in before} & {c.id for c in after}
    assert sup.said.count(": acting") <= 4


def test_all_are_ill_for_a_shared_cause(sup: Supervised) -> None:
    """They are in nginx, and one at a time is tried anew; whoever was seen to be ill first is back at once, and nothing is
    lost."""
    host, serving, running = sup.host, [], []

    def watched(condition: Callable[[], bool]) -> bool:
        addresses = {c.address for c in sup.running()}
        serving.append(len(sup.served() & addresses))
        running.append(len(addresses))
        return condition()

    sup.start()
    before = sup.served()
    with Load(host.url(), busy=4, idle=4) as load:
        sup.make("500")
        host.wait_for(lambda: watched(lambda: "cannot supervise web" in sup.said), "a replacement to fail", 20)
        assert sup.served() == before
        steady = len(serving)
        sup.heal()
        host.wait_for(
            lambda: watched(lambda: not sup.notes().get("services", {}).get("web", {}).get("until")), "peace", 20
        )
        assert sup.settled(2)
        counted = load.stop()
    assert min(serving) >= 1
    assert min(serving[steady:]) == 2
    assert max(running) == 3
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"


def test_one_of_two_dies_under_load(sup: Supervised) -> None:
    """What it had is lost with it; once it has left nginx nothing is."""
    sup.start()
    dying, well = sup.running()
    with Load(sup.host.url(), busy=8, idle=8) as load:
        sup.host.daemon.api.kill(dying.id)
        sup.host.wait_for(lambda: sup.served() == {well.address}, "it to leave nginx", 10)
        time.sleep(0.7)  # until the last worker of before has stopped listening
        lost = load.so_far()["lost"]
        sup.settled(2)
        load.run_for(1.0)
        counted = load.stop()
    print(f"lost before it left nginx: {lost}, after: {counted.lost - lost}")
    assert counted.lost - lost == 0, f"{counted}\n{counted.told[:10]}"


# More or fewer than wanted.


def test_nginx_cannot_be_told_of_replacements(sup: Supervised) -> None:
    """Somebody else has broken its files: what dies is started again where nginx knows it."""
    host = sup.host
    sup.start()
    before = {c.id for c in sup.running()}
    time.sleep(SPACING_SECONDS)
    other = host.nginx.add_server("other", "server { lisen 80; }\n")
    for container in before:
        host.daemon.api.kill(container)
    host.wait_for(lambda: {c.id for c in sup.running()} == before, f"both to run again\n{sup.said}", 20)
    host.wait_for(lambda: host.get().status == 200, "it to answer")
    assert f'unknown directive "lisen" in {other}:1' in sup.said
    other.unlink()
    assert {c.id for c in sup.settled(2)} == before


def test_one_of_two_is_removed_by_hand(sup: Supervised) -> None:
    sup.start()
    (gone, stays) = sup.running()
    sup.host.daemon.api.remove_container(gone.id, force=True)
    after = sup.settled(2)
    assert stays.id in {c.id for c in after}
    sup.stays(lambda: len(sup.events.of("start")) == 1, 1.0)
    nothing_left_behind(sup.host, "r1", count=2)


def test_three_where_two_are_wanted(sup: Supervised) -> None:
    """The extra one has a request under way, and finishes it."""
    host = sup.host
    host.conductor("service", "scale", "--id", "web", "--count", "3", check=True)
    wanted = json.loads((host.state_dir / "services" / "web.json").read_text())
    with Load(host.url(path="/slow?s=1"), busy=9, idle=0) as load:
        (host.state_dir / "services" / "web.json").write_text(json.dumps({**wanted, "scale": None}))
        sup.start()
        sup.settled(2)
        counted = load.stop()
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"
    assert sup.events.of("start") == []


def test_what_is_not_ours_is_left_alone(sup: Supervised) -> None:
    host, api = sup.host, sup.host.daemon.api
    theirs = [
        api.create_container(f"{APP}:r1", ["sleep", "60"], labels=labels, name=f"{host.network}-{number}")["Id"]
        for number, labels in enumerate(({}, {"conductor.instance": f"{host.instance}x", "conductor.service": "web"}))
    ]
    try:
        api.start(theirs[0])
        sup.start()
        api.kill(sup.running()[0].id)
        sup.settled(2)
        assert [api.inspect_container(one)["State"]["Status"] for one in theirs] == ["running", "created"]
    finally:
        for one in theirs:
            api.remove_container(one, force=True)


# Noise.


def make_noise(host: TestHost, container: str, seconds: float) -> int:
    """Pause it and let it go on, again and again; how many events that were."""
    began, events = time.monotonic(), 0
    while (now := time.monotonic()) < began + seconds:
        for act in (host.daemon.api.pause, host.daemon.api.unpause):
            with contextlib.suppress(docker.errors.APIError):  # Docker 20.10 may not know yet that it is paused
                act(container)
                events += 1
        time.sleep(max(0.0, 2 * NOISY / NOISE_PER_SECOND - (time.monotonic() - now)))
    return events


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.long)])
def test_many_events_are_few_looks(sup: Supervised, seconds: int) -> None:
    """Containers of a service that was never deployed are paused and go on, fifty times a second all together."""
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
    asked = [call for call in between.calls if "/containers/json" in call]
    print(f"{events} events in {took:.1f} s: {len(asked)} list calls, {used / took:.1%} of a core")
    assert len(asked) <= CLOSE_LOOKS * (took / PASS_SECONDS + 1)
    assert events >= 0.6 * NOISE_PER_SECOND * took
    assert used / took <= MOST_CPU


@pytest.mark.long
def test_exits_at_once_for_three_minutes(sup: Supervised) -> None:
    """Starts at least 5 s and at most about a minute apart, with no end; mended, it is back within one delay and its boot."""
    host, broken = sup.host, sup.sick / "broken"
    words = "test ! -e /sick/broken || exit 1; exec python3 -I -S -B /sick/app.py"
    host.define({"web": sup.service(count=1, command=["sh", "-c", words])})
    host.conductor("service", "restart", "--id", "web", check=True)
    sup.start()
    broken.touch()
    host.daemon.api.kill(sup.running()[0].id)
    sup.stays(lambda: host.wanted()["release"]["revision"] == "r1", 180)
    starts = sup.events.of("start")
    print("seconds between starts: " + ", ".join(f"{gap:.1f}" for gap in gaps(starts)))
    assert len(starts) >= 5
    assert min(gaps(starts)) >= SPACING_SECONDS
    assert max(gaps(starts)) <= LONGEST_SECONDS
    assert sup.said.count("acting") == 1  # the rest are repetitions
    broken.unlink()
    sup.settled(1, timeout=LONGEST_SECONDS)
    assert sup.events.of("start")[-1] - starts[-1] <= LONGEST_SECONDS
