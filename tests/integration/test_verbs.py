"""rollback, restart, start, stop and scale: what each leaves running, wanted and written down; under load nothing is lost."""

import contextlib
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.commands import Result
from tests.support.host import TestHost, merged
from tests.support.images import APP
from tests.support.load import Load
from tests.support.odd_clients import SlowUpload

SLOW_BOOT = merged(QUICK, {"env": {"BOOT": "1.5"}, "health": {"start_timeout": "10s"}})
ADA = {"SUDO_USER": "ada"}


@pytest.fixture
def web(serving: TestHost) -> Iterator[TestHost]:
    """`serving`, whose next test may upgrade again."""
    yield serving
    serving.define({"web": QUICK})
    if (serving.wanted() or {}).get("stopped"):
        service(serving, "start")
    service(serving, "scale", "--reset")


def service(host: TestHost, verb: str, *more: str, **options: Any) -> Result:
    return host.conductor("service", verb, "--id", "web", *more, **options)


def done(result: Result, text: str) -> str:
    """It is done, without a warning, and says what runs."""
    assert "warning" not in result.expect(0).stderr, str(result)
    assert re.search(rf"^{re.escape(text)} \(\d+\.\ds\)$", result.stderr, re.MULTILINE), str(result)
    return result.stderr


def last(host: TestHost) -> tuple[str, str, str, int, str]:
    """The last line of the history: (action, from, to, count, outcome)."""
    line = host.history()[-1]
    return line["action"], line["from"], line["to"], line["count"], line["outcome"]


def colour(host: TestHost) -> set[str]:
    """What the containers have in their environment as COLOUR."""
    pairs = (p for c in host.containers("web") for p in host.daemon.api.inspect_container(c.id)["Config"]["Env"])
    return {p.partition("=")[2] for p in pairs if p.startswith("COLOUR=")}


def painted(name: str) -> dict[str, Any]:
    return {"web": merged(QUICK, {"env": {"COLOUR": name}})}


# Back, and anew.


def test_rollback_to_the_release_before_it_with_its_own_definition(web: TestHost) -> None:
    for revision, name in (("r2", "red"), ("r3", "blue"), ("r4", "green")):
        web.define(painted(name))
        web.upgrade(revision, check=True)
    with Load(web.url(), busy=1, idle=9) as load:
        for words, before, to, name in (((), "r4", "r3", "blue"), (("--to", "r2"), "r3", "r2", "red")):
            done(service(web, "rollback", *words), f"web runs {to}: 1 of 1 healthy")
            assert last(web) == ("rollback", before, to, 1, "done")
            assert colour(web) == {name}
            nothing_left_behind(web, to)
        counted = load.stop()
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"
    wanted = web.wanted()
    assert wanted is not None
    assert [r["revision"] for r in wanted["kept"]][:2] == ["r3", "r4"]


def test_rollback_to_what_is_not_kept(web: TestHost) -> None:
    web.upgrade("r2", check=True)
    failed(service(web, "rollback", "--to", "r9"), 1, "cannot roll web back: release r9 is not kept", "kept are: r1")
    nothing_left_behind(web, "r2")


def test_rollback_with_no_release_before(host: TestHost) -> None:
    host.define({"web": QUICK})
    failed(service(host, "rollback"), 1, "cannot find a release of web: nothing of it was deployed here yet")
    host.upgrade("r1", check=True)
    failed(service(host, "rollback"), 1, "cannot roll web back: a release before r1 is not kept", "kept are: none")
    nothing_left_behind(host, "r1")


def test_rollback_to_an_image_that_was_removed_by_hand(host: TestHost) -> None:
    """Also what a rollback needs of a registry: nothing, as this image is in none."""
    repository = f"{host.instance}/app"
    api = host.daemon.api
    try:
        for tag in ("a", "b"):
            made = api.create_container(f"{APP}:r1", labels={"conductor.instance": host.instance})
            api.commit(made, repository, tag, conf={"Labels": {"tag": tag}}, changes=f"ENV REVISION={tag}")
            api.remove_container(made)
        host.define({"web": merged(QUICK, {"image": repository})})
        for tag in ("a", "b"):
            host.upgrade(tag, check=True)
        done(service(host, "rollback"), "web runs a: 1 of 1 healthy")
        api.remove_image(f"{repository}:b")
        gone = f"cannot use release b of web: its image {repository}:b is gone"
        failed(service(host, "rollback"), 1, gone, f"docker pull {repository}:b")
        nothing_left_behind(host, "a")
    finally:
        host.conductor("service", "stop", "--id", "web")
        for tag in ("a", "b"):
            with contextlib.suppress(Exception):
                api.remove_image(f"{repository}:{tag}", force=True)


def test_releases_kept(host: TestHost) -> None:
    host.define({"web": QUICK}, host_extra={"keep": 2})
    for revision in ("r1", "r2", "r3", "r4"):
        host.upgrade(revision, check=True)
    failed(service(host, "rollback", "--to", "r1"), 1, "release r1 is not kept", "kept are: r3, r2")
    done(service(host, "rollback", "--to", "r2"), "web runs r2: 1 of 1 healthy")
    failed(service(host, "rollback", "--to", "r9"), 1, "kept are: r4, r3")
    nothing_left_behind(host, "r2")


def test_restart(web: TestHost) -> None:
    (before,) = web.containers("web")
    web.define(painted("red"))
    with Load(web.url(), busy=1, idle=9) as load:
        done(service(web, "restart"), "web runs r1: 1 of 1 healthy")
        counted = load.stop()
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"
    assert [c.id for c in web.containers("web")] != [before.id]
    assert colour(web) == {"red"}
    assert last(web) == ("restart", "r1", "r1", 1, "done")
    nothing_left_behind(web, "r1")


# Off, and on.


def test_stop_and_start(web: TestHost) -> None:
    assert "nothing to do" in service(web, "start", check=True).stderr
    done(service(web, "stop", "--reason", "leap day", env=ADA), "web is stopped")
    nothing_left_behind(web, "r1", count=0)
    assert last(web) == ("stop", "r1", "r1", 0, "done")
    web.conductor("nginx", "install", check=True)
    assert "web is as wanted: stopped; nothing to do" in service(web, "stop", check=True).stderr
    because = "web is stopped: ada (as root) stopped it at 20"
    for result in (web.upgrade("r2"), web.upgrade("r2", "web", "--force"), service(web, "restart")):
        failed(result, 1, because, "(leap day)", "service start --id web")
    failed(service(web, "rollback"), 1, because)
    service(web, "scale", "--count", "2", check=True)
    nothing_left_behind(web, "r1", count=0)
    done(service(web, "start"), "web runs r1: 2 of 2 healthy")
    assert last(web) == ("start", "r1", "r1", 2, "done")
    nothing_left_behind(web, "r1", count=2)


def test_an_upgrade_that_starts_a_stopped_service(web: TestHost) -> None:
    service(web, "stop", check=True)
    done(web.upgrade("r2", "web", "--start"), "web runs r2: 1 of 1 healthy")
    assert (web.wanted() or {})["stopped"] is None
    nothing_left_behind(web, "r2")


def test_stop_lets_requests_finish(web: TestHost) -> None:
    with contextlib.closing(SlowUpload(web.url(), seconds=2)) as upload:
        done(service(web, "stop"), "web is stopped")
        assert upload.result(1).revision == "r1"


def test_start_brings_back_what_died(web: TestHost) -> None:
    (old,) = web.containers("web")
    web.daemon.api.kill(old.id)
    done(service(web, "start"), "web runs r1: 1 of 1 healthy")
    nothing_left_behind(web, "r1")


def test_a_service_that_is_no_longer_defined(web: TestHost) -> None:
    web.define({"other": QUICK})
    failed(service(web, "restart"), 2, 'cannot find service "web"')
    done(service(web, "stop"), "web is stopped")
    nothing_left_behind(web, "r1", count=0)
    done(service(web, "start"), "web runs r1: 1 of 1 healthy")
    nothing_left_behind(web, "r1")


# More, and fewer.


def test_scale_under_load(web: TestHost) -> None:
    with Load(web.url(), busy=1, idle=9) as load:
        for words, count in ((("--count", "3"), 3), (("--count", "1"), 1), (("--count", "2"), 2), (("--reset",), 1)):
            done(service(web, "scale", *words), f"web runs r1: {count} of {count} healthy")
            assert last(web) == ("scale", "r1", "r1", count, "done")
            assert (web.wanted() or {})["scale"] == (None if words == ("--reset",) else count)
            nothing_left_behind(web, "r1", count=count)
        counted = load.stop()
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"


def test_scale_stays_over_an_upgrade_and_keeps_the_containers_that_are_there(web: TestHost) -> None:
    (first,) = web.containers("web")
    service(web, "scale", "--count", "2", check=True)
    assert first.id in [c.id for c in web.containers("web")]
    assert "web is as wanted: 2 running; nothing to do" in service(web, "scale", "--count", "2", check=True).stderr
    done(web.upgrade("r2"), "web runs r2: 2 of 2 healthy")
    nothing_left_behind(web, "r2", count=2)


def test_scale_to_nothing_and_back_under_load(web: TestHost) -> None:
    """There is nobody to answer in between: 503 by nginx, and not one request that was cut."""
    with Load(web.url(), busy=1, idle=9) as load:
        service(web, "scale", "--count", "0", check=True)
        nothing_left_behind(web, "r1", count=0)
        done(service(web, "scale", "--reset"), "web runs r1: 1 of 1 healthy")
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
    """Every container of r3, and of r2 before it, takes a while to be healthy."""
    host.define({"web": SLOW_BOOT})
    host.upgrade("r2", check=True)
    host.upgrade("r3", check=True)


def test_ctrl_c_while_more_are_not_healthy_yet(web: TestHost) -> None:
    begin_slowly(web)
    (first,) = web.containers("web")
    scaling = web.spawn("service", "scale", "--id", "web", "--count", "3")
    web.wait_for(lambda: len(web.revisions()) == 3, "the new ones")
    scaling.signal(signal.SIGINT)
    failed(scaling.wait(20), 130, "undoing the scale of web", "web r3 still runs: 1 container")
    assert [c.id for c in web.containers("web")] == [first.id]
    assert (web.wanted() or {})["scale"] is None
    nothing_left_behind(web, "r3")


ONE, NONE = ("scale", "--count", "1"), ("scale", "--count", "0")
DYING = {
    "scale at the gate": (("scale", "--count", "3"), lambda host: len(host.revisions()) == 3, "undoing", ONE),
    "rollback at the gate": (("rollback",), lambda host: host.revisions() == ["r2", "r3"], "undoing", ONE),
    "restart at the gate": (("restart",), lambda host: host.revisions() == ["r3", "r3"], "undoing", ONE),
    "stop at the drain": (("stop",), lambda host: (host.wanted() or {})["stopped"], "finishing", ("stop",)),
    "scale at the drain": (
        ("scale", "--count", "0"),
        lambda host: (host.wanted() or {})["scale"] == 0,
        "finishing",
        NONE,
    ),
}


@pytest.mark.parametrize(("words", "when", "how", "next_one"), DYING.values(), ids=DYING)
def test_killed(
    web: TestHost, words: tuple[str, ...], when: Callable[[TestHost], object], how: str, next_one: tuple[str, ...]
) -> None:
    """And the next command, whichever it is, settles it."""
    begin_slowly(web)
    with contextlib.closing(SlowUpload(web.url(), seconds=3)) as upload:
        dying = web.spawn("service", words[0], "--id", "web", *words[1:])
        web.wait_for(lambda: when(web), "the moment")
        dying.kill()
        assert web.journal() is not None
        after = service(web, *next_one)
        assert f"the {words[0]} of web" in after.expect(0).stderr, str(after)
        assert f" died: {how} it first\n" in after.stderr
        assert upload.result(10).revision == "r3"
    nothing_left_behind(web, "r3", count=int(next_one == ONE))
