"""`conductor service maintenance` on real Docker and nginx: under load, through an upgrade, and with a kill."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from conductor.times import time_text
from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.host import TestHost
from tests.support.service_actions import done, last, service

OFF_HINT = "conductor service maintenance --id web off"


@pytest.fixture
def maintained(web: TestHost) -> Iterator[TestHost]:
    """A host where `web` r1 serves; a maintenance ends after the test."""
    web.upgrade("r1", check=True)
    yield web
    service(web, "maintenance", "off")


def row(host: TestHost) -> dict[str, Any]:
    document = json.loads(host.conductor("service", "status", "--id", "web", "--json", check=True).stdout)
    [found] = document["services"]
    return dict(found)


def test_no_request_is_lost_through_a_maintenance_with_an_upgrade(maintained: TestHost) -> None:
    host = maintained
    with host.load(busy=5, idle=5) as load:
        done(
            service(host, "maintenance", "on", "--message", "Back at <noon>."),
            "web is running r1 with 1 replica and is in maintenance: nginx returns 503",
        )
        before = [one.id for one in host.containers("web")]
        answer = host.get()
        assert (answer.status, answer.revision) == (503, None)
        assert b"Back at &lt;noon&gt;." in answer.body
        host.upgrade("r2", check=True)
        assert host.revisions() == ["r2"]
        assert before != [one.id for one in host.containers("web")]
        assert host.get().status == 503
        done(service(host, "maintenance", "off"), "web is running r2 with 1 replica")
        assert (host.get().status, host.get().revision) == (200, "r2")
        counted = load.stop()
    assert set(counted.losses) == {"5xx"}, str(counted)
    assert set(counted.statuses) == {"200", "503"}, counted.statuses
    nothing_left_behind(host, "r2")


def test_its_start_is_shown_until_it_ends(maintained: TestHost) -> None:
    host = maintained
    message = ("--message", "Back at noon.")
    service(host, "maintenance", "on", *message, env={"SUDO_USER": "ada"}).expect(0)
    assert last(host)[0] == "maintenance-on"
    assert host.history()[-1]["reason"] == "Back at noon."
    found = row(host)
    assert (found["condition"], found["maintenance"]["reason"]) == ("maintenance", "Back at noon.")
    assert found["maintenance"]["who"].startswith("ada")
    status = service(host, "status").expect(0).stdout
    assert OFF_HINT in status
    assert "ada" in status
    listed = host.conductor("service", "list", check=True).stdout
    assert f"in maintenance since {time_text(found['maintenance']['since'])}, started by ada" in listed
    assert OFF_HINT in host.conductor("doctor").stdout
    done(service(host, "maintenance", "on", *message), "web is already in maintenance with this message; nothing to do")
    service(host, "maintenance", "off").expect(0)
    done(service(host, "maintenance", "off"), "web is not in maintenance; nothing to do")
    assert row(host)["maintenance"] is None


def test_a_plan_changes_nothing(maintained: TestHost) -> None:
    files = {path: path.read_text() for path in maintained.nginx.include_dir.iterdir()}
    output = service(maintained, "maintenance", "on", "--message", "Back at noon.", "--plan").expect(0).stderr
    assert "Back at noon." in output
    assert {path: path.read_text() for path in maintained.nginx.include_dir.iterdir()} == files
    assert row(maintained)["maintenance"] is None


def test_it_survives_a_restart_of_nginx_and_an_install(maintained: TestHost) -> None:
    service(maintained, "maintenance", "on").expect(0)
    maintained.nginx.stop()
    maintained.nginx.start()
    assert maintained.get().status == 503
    maintained.conductor("nginx", "install", check=True)
    assert maintained.get().status == 503


def test_files_that_nginx_rejects_change_nothing(maintained: TestHost) -> None:
    bad = maintained.nginx.add_server("bad", "nonsense;\n")
    try:
        failed(service(maintained, "maintenance", "on"), 1, "cannot start maintenance for web", str(bad))
    finally:
        bad.unlink()
    assert row(maintained)["maintenance"] is None
    assert maintained.get().status == 200


def test_it_is_refused_for_a_service_without_nginx(host: TestHost) -> None:
    host.define({"web": {**QUICK, "nginx": None}})
    host.upgrade("r1", check=True)
    failed(service(host, "maintenance", "on"), 1, "has no `nginx` key")
