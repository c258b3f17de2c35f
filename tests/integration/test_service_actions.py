"""`rollback`, `restart`, `start` and `stop`: replicas, wanted state and history after each; no request is lost under load."""

import contextlib
from typing import Any

import pytest

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.host import TestHost, merged
from tests.support.images import APP
from tests.support.odd_clients import SlowUpload
from tests.support.service_actions import done, last, service

pytestmark = pytest.mark.both_ways

ADA = {"SUDO_USER": "ada"}


def colour(host: TestHost) -> set[str]:
    """Return the values of COLOUR in the environments of the containers."""
    pairs = (p for c in host.containers("web") for p in host.daemon.api.inspect_container(c.id)["Config"]["Env"])
    return {p.partition("=")[2] for p in pairs if p.startswith("COLOUR=")}


def painted(name: str) -> dict[str, Any]:
    return {"web": merged(QUICK, {"env": {"COLOUR": name}})}


# Rollback and restart.


def test_rollback_to_the_release_before_it_with_its_own_definition(web: TestHost) -> None:
    for revision, name in (("r2", "red"), ("r3", "blue"), ("r4", "green")):
        web.define(painted(name))
        web.upgrade(revision, check=True)
    with web.load(busy=1, idle=9) as load:
        for words, before, to, name in (((), "r4", "r3", "blue"), (("--to", "r2"), "r3", "r2", "red")):
            done(service(web, "rollback", *words), f"web is running {to} with 1 replica")
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
    failed(
        service(web, "rollback", "--to", "r9"),
        1,
        "cannot roll back web: revision r9 is not retained",
        "retained revisions: r1",
    )
    nothing_left_behind(web, "r2")


def test_rollback_with_no_release_before(host: TestHost) -> None:
    host.define({"web": QUICK})
    failed(service(host, "rollback"), 1, "cannot find a release of web: it has never been deployed")
    host.upgrade("r1", check=True)
    failed(
        service(host, "rollback"),
        1,
        "cannot roll back web: no release before r1 is retained",
        "retained revisions: none",
    )
    nothing_left_behind(host, "r1")


def test_rollback_to_an_image_that_was_removed_by_hand(host: TestHost) -> None:
    """A rollback needs no registry: this image is in none."""
    repository = f"127.0.0.1:1/{host.instance}/app"  # nothing listens on port 1, so a pull fails
    api = host.daemon.api
    try:
        for tag in ("a", "b"):
            made = api.create_container(f"{APP}:r1", labels={"conductor.instance": host.instance})
            api.commit(made, repository, tag, conf={"Labels": {"tag": tag}}, changes=f"ENV REVISION={tag}")
            api.remove_container(made)
        host.define({"web": merged(QUICK, {"image": repository})})
        for tag in ("a", "b"):
            host.upgrade(tag, check=True)
        done(service(host, "rollback"), "web is running a with 1 replica")
        api.remove_image(f"{repository}:b")
        removed = (
            f"cannot use revision b of web: its image {repository}:b was removed: cannot pull image {repository}:b: "
        )
        failed(service(host, "rollback", "--to", "b"), 1, removed)
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
    failed(service(host, "rollback", "--to", "r1"), 1, "revision r1 is not retained", "retained revisions: r3, r2")
    done(service(host, "rollback", "--to", "r2"), "web is running r2 with 1 replica")
    failed(service(host, "rollback", "--to", "r9"), 1, "retained revisions: r4, r3")
    nothing_left_behind(host, "r2")


def test_restart(web: TestHost) -> None:
    (before,) = web.containers("web")
    web.define(painted("red"))
    with web.load(busy=1, idle=9) as load:
        done(service(web, "restart"), "web is running r1 with 1 replica")
        counted = load.stop()
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"
    assert [c.id for c in web.containers("web")] != [before.id]
    assert colour(web) == {"red"}
    assert last(web) == ("restart", "r1", "r1", 1, "done")
    nothing_left_behind(web, "r1")


# Stop and start.


def test_stop_and_start(web: TestHost) -> None:
    assert "nothing to do" in service(web, "start", check=True).stderr
    done(service(web, "stop", "--reason", "leap day", env=ADA), "web is stopped")
    nothing_left_behind(web, "r1", count=0)
    assert last(web) == ("stop", "r1", "r1", 0, "done")
    web.conductor("nginx", "install", check=True)
    assert "web is already stopped; nothing to do" in service(web, "stop", check=True).stderr
    because = "web is stopped: ada (as root) stopped it at 20"
    for result in (web.upgrade("r2"), web.upgrade("r2", "web", "--force"), service(web, "restart")):
        failed(result, 1, because, "(leap day)", "service start --id web")
    failed(service(web, "rollback"), 1, because)
    service(web, "scale", "--count", "2", check=True)
    nothing_left_behind(web, "r1", count=0)
    done(service(web, "start"), "web is running r1 with 2 replicas")
    assert last(web) == ("start", "r1", "r1", 2, "done")
    nothing_left_behind(web, "r1", count=2)


def test_an_upgrade_that_starts_a_stopped_service(web: TestHost) -> None:
    service(web, "stop", check=True)
    done(web.upgrade("r2", "web", "--start"), "web is running r2 with 1 replica")
    assert (web.wanted() or {})["stopped"] is None
    nothing_left_behind(web, "r2")
    service(web, "scale", "--count", "0", check=True)
    service(web, "stop", check=True)
    done(web.upgrade("r2", "web", "--start"), "web is at r2 with 0 replicas")
    assert (web.wanted() or {})["stopped"] is None


def test_stop_waits_for_requests(web: TestHost) -> None:
    """With `cutover: live`, nginx chooses a replica once it has buffered the upload: of a stopped service, that is none."""
    web.define({"web": merged(QUICK, {"nginx": {"server": {"buffering": web.cutover == "reload"}}})})
    web.upgrade("r1", "web", "--force", check=True)
    with contextlib.closing(SlowUpload(web.url())) as upload:
        stopping = web.spawn("service", "stop", "--id", "web")
        web.wait_for(lambda: "   drain  " in stopping.stderr, "the drain")
        upload.finish_after(1)
        done(stopping.wait(20), "web is stopped")
        assert upload.result(1).revision == "r1"


def test_start_replaces_a_killed_container(web: TestHost) -> None:
    (old,) = web.containers("web")
    web.kill(old.id)
    done(service(web, "start"), "web is running r1 with 1 replica")
    nothing_left_behind(web, "r1")


def test_a_service_that_is_no_longer_defined(web: TestHost) -> None:
    web.define({"other": QUICK})
    failed(service(web, "restart"), 2, 'cannot find service "web"')
    done(service(web, "stop"), "web is stopped")
    nothing_left_behind(web, "r1", count=0)
    done(service(web, "start"), "web is running r1 with 1 replica")
    nothing_left_behind(web, "r1")


def test_the_count_follows_the_file(web: TestHost) -> None:
    """A changed count is no drift: `start` adds missing replicas, `scale --reset` and `rollback` use the count of the file."""
    web.upgrade("r2", check=True)
    web.define({"web": merged(QUICK, {"count": 2})})
    assert "1 missing" in web.conductor("service", "status", check=True).stdout
    assert "drifted" not in web.conductor("service", "status", check=True).stdout
    done(service(web, "start"), "web is running r2 with 2 replicas")
    done(service(web, "scale", "--count", "1"), "web is running r2 with 1 replica")
    done(service(web, "scale", "--reset"), "web is running r2 with 2 replicas")
    done(service(web, "rollback"), "web is running r1 with 2 replicas")
    nothing_left_behind(web, "r1", count=2)


def test_restart_onto_another_image(web: TestHost) -> None:
    """The definition has another image than the live release."""
    web.define({"web": merged(QUICK, {"image": "another/app"})})
    failed(
        service(web, "restart"), 1, f"cannot restart web: its image changed from {APP}:r1 to another/app",
        "conductor service upgrade --id web --revision r1",
    )  # fmt: skip
    web.define({"web": QUICK})
    nothing_left_behind(web, "r1")
