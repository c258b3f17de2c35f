"""Crontabs follow the definitions file, in both modes of `undefined`."""

import fcntl
import threading
from typing import Any

import pytest
import yaml

from conductor.change.install_crontab import install
from conductor.plan.history import Outcome
from conductor.runtime.port import Captured
from conductor.supervise.crontabs import follow_definitions
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB
from tests.unit.supervise.test_reconciler import outcomes, pause

CRON = {**WEB, "cron": {"generate": ["bin/cron"]}}
REMOVED = ("cron-remove", Outcome.DONE)
INSTALLED = ("cron-install", Outcome.DONE)


@pytest.fixture
def cron(host: Any) -> Any:
    """The host with a service `cron` that has a crontab."""
    host.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("* * * * * bin/job",)), kind="task")
    host.define({"cron": CRON})
    host.upgrade("r1", "cron")
    host.run_pass()
    assert host.crontab("cron")
    return host


def define(host: Any, services: dict[str, Any], undefined: str = "keep") -> None:
    host.define(services)
    path = host.directory / "services.yml"
    document = yaml.safe_load(path.read_text())
    document["host"]["supervise"] = {"undefined": undefined}
    path.write_text(yaml.safe_dump(document))


@pytest.mark.parametrize("undefined", ["keep", "stop"])
def test_the_crontab_leaves_and_returns_with_the_definition(cron: Any, undefined: str) -> None:
    text = cron.crontab("cron")
    define(cron, {"cron": CRON}, undefined)
    cron.supervise()
    define(cron, {"web": WEB}, undefined)
    cron.run_passes(15.0)
    assert cron.crontab("cron") is None
    assert cron.running("cron") == ({} if undefined == "stop" else {"r1": 2})
    define(cron, {"web": WEB, "cron": CRON}, undefined)
    cron.run_passes(15.0)
    assert cron.crontab("cron") == text
    assert [one for one in outcomes(cron) if one in {REMOVED, INSTALLED}] == [REMOVED, INSTALLED]


def test_a_crontab_that_an_operator_removed_after_a_slow_pass_began_is_not_installed_again(cron: Any) -> None:
    define(cron, {"web": WEB})
    cron.supervise()
    cron.run_passes(15.0)
    assert cron.crontab("cron") is None
    assert follow_definitions(cron.context(), "cron", defined=True)
    cron.context().crontabs.put("cron", None)
    assert not follow_definitions(cron.context(), "cron", defined=True)
    assert cron.crontab("cron") is None


def test_a_crontab_that_an_operator_removed_is_not_installed_again(cron: Any) -> None:
    cron.context().crontabs.put("cron", None)
    cron.run_passes(10.0)
    assert cron.crontab("cron") is None


@pytest.mark.parametrize("broken", ["file", "definition"])
def test_a_broken_file_or_definition_removes_nothing(cron: Any, broken: str) -> None:
    if broken == "file":
        (cron.directory / "services.yml").write_text("{")
    else:
        cron.define({"cron": {"image": 1}})
    cron.run_passes(10.0)
    assert cron.crontab("cron")
    assert REMOVED not in outcomes(cron)


def test_a_start_with_an_invalid_definition_removes_nothing(cron: Any) -> None:
    cron.define({"cron": {"image": 1}})
    cron.supervise()
    cron.run_passes(10.0)
    assert cron.crontab("cron")
    assert REMOVED not in outcomes(cron)


def test_a_stopped_service_gets_no_crontab_when_it_returns(cron: Any) -> None:
    from conductor.change import actions

    define(cron, {"web": WEB})
    cron.run_passes(10.0)
    cron.perform(actions.stop(""), "cron")
    define(cron, {"web": WEB, "cron": CRON})
    cron.run_passes(10.0)
    assert cron.crontab("cron") is None
    cron.perform(actions.start, "cron")
    assert cron.crontab("cron")


def test_the_crontab_of_a_service_that_was_never_deployed_leaves_with_its_definition(host: Any) -> None:
    """Otherwise the jobs of a service that consists of cron jobs run on two hosts after a move."""
    jobs = {"web": WEB, "jobs": CRON}
    host.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("* * * * * bin/job",)), kind="task")
    for _ in range(2):
        define(host, jobs)
        install(host.context(), host.definitions, "jobs", "r1", 0.0)
        host.run_passes(15.0)
        assert "--revision r1" in (host.crontab("jobs") or "")
        define(host, {"web": WEB})
        host.run_passes(15.0)
        assert host.crontab("jobs") is None
    define(host, jobs)
    host.run_passes(15.0)
    assert host.crontab("jobs") is None  # no release has it


def test_nothing_is_done_for_a_paused_service(cron: Any) -> None:
    pause(cron, "cron")
    define(cron, {"web": WEB})
    cron.run_passes(10.0)
    assert cron.crontab("cron")


def test_a_crontab_that_is_being_generated_does_not_delay_a_waiting_command(cron: Any) -> None:
    cron.define({"cron": {**CRON, "env": {"COLOUR": "blue"}}})
    path = cron.directory / "services.yml"
    document = yaml.safe_load(path.read_text())
    document["host"]["supervise"] = {"drift": "apply"}
    path.write_text(yaml.safe_dump(document))
    cron.clock.advance(60.0)
    cron.supervise()
    remove, removed, ended = cron.runtime.remove, threading.Event(), []

    def capture_while_a_command_waits(_container: str, *_limits: float) -> Captured:
        fcntl.flock(waiting, fcntl.LOCK_SH)
        cron.clock.advance(1.0)
        ended.append(removed.wait(10))
        return Captured(stdout=b"", stderr=b"", failure="was removed")

    def remove_and_report(container: str) -> None:
        remove(container)
        removed.set()

    with (cron.directory / "run" / "locks" / "cron.waiting.lock").open("a") as waiting:
        cron.runtime.capture, cron.runtime.remove = capture_while_a_command_waits, remove_and_report
        cron.run_pass()
        assert removed.is_set()
    assert cron.lines[-1] == "cron: apply-drift stopped: a command is waiting for the lock, or supervise is exiting"
    assert ended != [False]


def test_a_crontab_that_conductor_did_not_write_stays(cron: Any) -> None:
    path = cron.directory / "cron" / "conductor-cron"
    path.write_text("* * * * * root /usr/local/bin/theirs\n")
    define(cron, {"web": WEB})
    cron.run_passes(10.0)
    assert not follow_definitions(cron.context(), "cron", defined=False)
    assert cron.crontab("cron") == "* * * * * root /usr/local/bin/theirs\n"
    assert REMOVED not in outcomes(cron)
