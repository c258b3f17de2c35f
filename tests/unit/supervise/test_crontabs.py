"""Crontabs follow the definitions file, in both modes of `undefined`."""

from typing import Any

import pytest
import yaml

from conductor.plan.history import Outcome
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


def test_a_crontab_that_an_operator_removed_is_not_installed_again(cron: Any) -> None:
    cron.context().crontabs.put("cron", None)
    cron.run_passes(10.0)
    assert cron.crontab("cron") is None


@pytest.mark.parametrize("text", ["{", "version: 1\nservices: {cron: {image: 1}}\n"])
def test_a_broken_file_or_definition_removes_nothing(cron: Any, text: str) -> None:
    (cron.directory / "services.yml").write_text(text)
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


def test_nothing_is_done_for_a_paused_service(cron: Any) -> None:
    pause(cron, "cron")
    define(cron, {"web": WEB})
    cron.run_passes(10.0)
    assert cron.crontab("cron")
