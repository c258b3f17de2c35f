"""`supervise` with a definitions file that is broken as a whole: what was committed runs, and the problem is published."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from conductor.definitions.host import Host
from conductor.definitions.load import load
from conductor.errors import ConductorError
from conductor.state.last_definitions import LastDefinitions, read_last_definitions, write_last_definitions
from conductor.supervise.definitions_file import DefinitionsFile
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB

HOST = {"instance": "test", "nginx": {"announce": "1s", "longest_connection": "2h"}, "supervise": {"undefined": "stop"}}


@pytest.mark.parametrize("text", ["{", "", None])
def test_after_a_reboot_with_a_broken_file_committed_releases_run(host: Any, text: str | None) -> None:
    path = host.directory / "services.yml"
    before = {one.id for one in host.replicas()}
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    host.runtime.restart_host()
    host.supervise()
    host.run_pass()
    assert {one.id for one in host.replicas() if one.running} == before
    assert str(path) in host.status().problem


def test_a_broken_file_removes_no_service(host: Any) -> None:
    path = host.directory / "services.yml"
    document = yaml.safe_load(path.read_text())
    document["host"]["supervise"] = {"undefined": "stop"}
    path.write_text(yaml.safe_dump(document))
    host.supervise()
    path.write_text("{")
    host.supervise()
    host.run_passes(20.0)
    assert host.running() == {"r1": 2}
    document["services"] = {}
    path.write_text(yaml.safe_dump(document))
    host.run_passes(20.0)
    assert host.running() == {}  # removed from a valid file
    path.write_text("{")
    host.supervise()
    host.run_passes(20.0)
    assert host.running() == {}  # and it stays so after a reboot with a broken one


def test_a_broken_file_does_not_remove_a_service_that_supervise_has_never_seen(host: Any) -> None:
    """It was defined and deployed while no `supervise` ran, so the last valid definitions do not have it."""
    path = host.directory / "services.yml"
    document = yaml.safe_load(path.read_text())
    document["host"]["supervise"] = {"undefined": "stop"}
    path.write_text(yaml.safe_dump(document))
    host.supervise()
    host.define({"web": WEB, "late": {**WEB, "cron": {"generate": ["bin/cron"]}}})
    host.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("* * * * * bin/job",)), kind="task")
    host.upgrade("r1", "late")
    path.write_text("{")
    host.supervise()
    host.run_passes(20.0)
    assert host.running("late") == {"r1": 2}
    assert host.crontab("late")
    document["services"] = {}
    path.write_text(yaml.safe_dump(document))
    host.run_passes(20.0)
    assert (host.running("late"), host.crontab("late")) == ({}, None)  # removed from a valid file
    path.write_text("{")
    host.supervise()
    host.run_passes(20.0)
    assert (host.running("late"), host.crontab("late")) == ({}, None)


def test_a_file_that_is_still_being_copied_removes_no_service(tmp_path: Path) -> None:
    """`scp` and many editors write in place: what is there in between may be a valid file with fewer services."""
    path = tmp_path / "services.yml"
    head = f"version: 1\nhost: {{state_dir: {tmp_path}}}\nservices:\n"
    text = head + "".join(f"  {name}: {{image: {name}, health: {{none: true}}}}\n" for name in ("web", "worker"))
    path.write_text(text)
    file = DefinitionsFile(path, tmp_path)
    path.write_text(text[: text.index("  worker")])
    assert not file.reload(force=False)
    assert file.definitions.ids == ("web", "worker")
    path.write_text(text)
    file.reload(force=False)
    assert file.definitions.ids == ("web", "worker")
    path.write_text(text[: text.index("  worker")])
    assert not file.reload(force=False)
    assert file.reload(force=False)  # unchanged for a second
    assert file.definitions.ids == ("web",)
    assert not file.reload(force=False)
    path.write_text(text)
    assert file.reload(force=False)
    assert file.definitions.ids == ("web", "worker")


def test_without_a_last_valid_file_the_problem_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "services.yml").write_text("{")
    with pytest.raises(ConductorError):
        DefinitionsFile(tmp_path / "services.yml", tmp_path)


def test_the_host_section_that_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "services.yml"
    path.write_text(yaml.safe_dump({"version": 1, "host": {**HOST, "state_dir": str(tmp_path)}, "services": {}}))
    host = load(path).host
    assert read_last_definitions(tmp_path) is None
    for one in (host, Host(state_dir=str(tmp_path))):
        last = LastDefinitions(host=one, services=("web",), deployed=("web", "moved"))
        write_last_definitions(last)
        assert read_last_definitions(tmp_path) == last
    (tmp_path / "host.json").write_text('{"version": 1, "host": {"colour": "blue"}, "services": []}')
    with pytest.raises(ConductorError):
        read_last_definitions(tmp_path)
