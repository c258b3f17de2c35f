"""`scale` under load, and interrupted actions: Ctrl-C rolls back, and after kill -9 the next command recovers the change."""

import contextlib
import re
import signal
from collections.abc import Callable

import pytest

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.host import TestHost, merged
from tests.support.odd_clients import SlowUpload
from tests.support.service_actions import done, last, service

pytestmark = pytest.mark.both_ways

SLOW_BOOT = merged(QUICK, {"env": {"BOOT": "1.5"}, "health": {"start_timeout": "10s"}})


def test_scale_under_load(web: TestHost) -> None:
    with web.load(busy=1, idle=9) as load:
        for words, count in ((("--count", "3"), 3), (("--count", "1"), 1), (("--count", "2"), 2), (("--reset",), 1)):
            done(service(web, "scale", *words), f"web is running r1 with {count} replica{'s' * (count != 1)}")
            assert last(web) == ("scale", "r1", "r1", count, "done")
            assert (web.wanted() or {})["scale"] == (None if words == ("--reset",) else count)
            nothing_left_behind(web, "r1", count=count)
        counted = load.stop()
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"


def test_scale_stays_over_an_upgrade_and_keeps_the_containers_that_are_there(web: TestHost) -> None:
    (first,) = web.containers("web")
    service(web, "scale", "--count", "2", check=True)
    assert first.id in [c.id for c in web.containers("web")]
    assert "web is already at 2 replicas; nothing to do" in service(web, "scale", "--count", "2", check=True).stderr
    done(web.upgrade("r2"), "web is running r2 with 2 replicas")
    nothing_left_behind(web, "r2", count=2)


@pytest.mark.both_ways(short=True)
def test_scale_to_nothing_and_back_under_load(web: TestHost) -> None:
    """Without replicas nginx returns 503. No request is cut."""
    with web.load(busy=1, idle=9) as load:
        service(web, "scale", "--count", "0", check=True)
        nothing_left_behind(web, "r1", count=0)
        done(service(web, "scale", "--reset"), "web is running r1 with 1 replica")
        load.run_for(0.3)
        counted = load.stop()
    assert set(counted.statuses) == {"200", "503"}, f"{counted}\n{counted.told[:10]}"
    assert counted.lost == counted.statuses["503"], f"{counted}\n{counted.told[:10]}"
    nothing_left_behind(web, "r1")


@pytest.mark.parametrize("words", [(), ("--count", "2", "--reset"), ("--count", "-1"), ("--count", "many")], ids=str)
def test_scale_to_what(web: TestHost, words: tuple[str, ...]) -> None:
    assert service(web, "scale", *words).expect(2).stderr.startswith("error: ")
    nothing_left_behind(web, "r1")


# Interrupted.


def begin_slowly(host: TestHost) -> None:
    """Every container of r3, and of r2 before it, takes a while to be healthy.

    With `cutover: live`, nginx chooses a replica once it has buffered the upload: of a stopped service, that is none.
    """
    host.define({"web": merged(SLOW_BOOT, {"nginx": {"server": {"buffering": host.cutover == "reload"}}})})
    host.upgrade("r2", check=True)
    host.upgrade("r3", check=True)


def test_ctrl_c_while_more_are_not_healthy_yet(web: TestHost) -> None:
    begin_slowly(web)
    (first,) = web.containers("web")
    scaling = web.spawn("service", "scale", "--id", "web", "--count", "3")
    web.wait_for(lambda: len(web.revisions()) == 3, "the new ones")
    scaling.signal(signal.SIGINT)
    failed(scaling.wait(20), 130, "roll back the scaling of web", "web is still running r3 with 1 replica")
    assert [c.id for c in web.containers("web")] == [first.id]
    assert (web.wanted() or {})["scale"] is None
    nothing_left_behind(web, "r3")


ONE, NONE = ("scale", "--count", "1"), ("scale", "--count", "0")
KILLED = {
    "scale at the gate": (
        ("scale", "--count", "3"),
        lambda host: len(host.revisions()) == 3,
        "recovered-rolled-back",
        ONE,
    ),
    "rollback at the gate": (
        ("rollback",),
        lambda host: host.revisions() == ["r2", "r3"],
        "recovered-rolled-back",
        ONE,
    ),
    "restart at the gate": (("restart",), lambda host: host.revisions() == ["r3", "r3"], "recovered-rolled-back", ONE),
    "stop at the drain": (("stop",), lambda host: (host.wanted() or {})["stopped"], "recovered", ("stop",)),
    "scale at the drain": (
        ("scale", "--count", "0"),
        lambda host: (host.wanted() or {})["scale"] == 0,
        "recovered",
        NONE,
    ),
}


@pytest.mark.parametrize(("words", "when", "outcome", "next_one"), KILLED.values(), ids=KILLED)
def test_killed(
    web: TestHost, words: tuple[str, ...], when: Callable[[TestHost], object], outcome: str, next_one: tuple[str, ...]
) -> None:
    """The next command recovers the change, whatever that command does."""
    begin_slowly(web)
    with contextlib.closing(SlowUpload(web.url())) as upload:
        earlier = len(web.history())
        killed = web.spawn("service", words[0], "--id", "web", *words[1:])
        web.wait_for(lambda: when(web), "the moment")
        killed.kill()
        assert web.journal() is not None
        upload.finish_after(1)
        after = service(web, *next_one, check=True)
        change = words[0].replace("scale", "scaling")
        assert re.search(rf"the {change} of web( to r\d)?, which started at ", after.stderr), str(after)
        recovery = web.history()[earlier]
        assert (recovery["action"], recovery["outcome"]) == (words[0], outcome)
        assert upload.result(10).revision == "r3"
    nothing_left_behind(web, "r3", count=int(next_one == ONE))
