"""The cookbook converged on an overlay of this machine: it installs Conductor from its wheel, and bad data bags change nothing."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chef_runs import RUBY, example_bags, request
from tests.support.overlay import Overlay
from tests.support.wheels import wheelhouse

CONFIG = "/etc/conductor/services.yml"
SECRET = "p%{x}ss <%= 1 %> 'ö\"\n\n"


def bags() -> dict[str, Any]:
    found = example_bags()
    found["conductor_secrets"]["shop_web"]["DATABASE_URL"] = SECRET
    return found


def wheel() -> Path:
    return next(wheelhouse().glob("conductor-*.whl"))


def environment() -> str:
    """Return the directory name of the wheel's virtual environment."""
    return hashlib.sha256(wheel().read_bytes()).hexdigest()[:12]


def chef(machine: Overlay, *recipes: str, data_bags: dict[str, Any] | None = None) -> dict[str, Any]:
    attributes = {
        "wheel": str(wheel()),
        "pip_options": ["--no-index", "--find-links", str(wheel().parent)],
        "deploy_users": ["deploy"],
    }
    names = [f"conductor::{name}" for name in recipes]
    document = request(recipes=names, attributes=attributes, data_bags=data_bags or bags(), perform=True)
    outcome: dict[str, Any] = json.loads(
        machine.checked("ruby", "-W", str(RUBY / "converge.rb"), given=json.dumps(document))
    )
    return outcome


def state(machine: Overlay) -> str:
    """Return the contents, owners, modes and times of definitions and secrets."""
    return machine.checked(
        "sh", "-c", "cd /etc/conductor && find . -type f -exec stat -c '%n %a %u %Y %i' {} + -exec cat {} +"
    )


@pytest.fixture(scope="module")
def machine() -> Iterator[Overlay]:
    """A machine after its first converge, which completed an interrupted installation."""
    with Overlay() as made:
        made.checked("python3", "-m", "venv", "--without-pip", f"/opt/conductor/{environment()}")
        outcome = chef(made, "default")
        assert "error" not in outcome, outcome
        yield made


def test_conductor_is_installed_and_its_files_are_in_place(machine: Overlay) -> None:
    assert machine.checked("/usr/local/bin/conductor", "--version").startswith("conductor ")
    assert machine.checked("readlink", "/usr/local/bin/conductor") == f"/opt/conductor/{environment()}/bin/conductor\n"
    machine.checked("conductor", "config", "check", "--files")
    where = [
        "/etc/conductor/secrets",
        "/etc/conductor/secrets/shop_web",
        "/etc/conductor/secrets/shop_web/DATABASE_URL",
    ]
    modes = machine.checked("stat", "-c", "%a %U", CONFIG, "/etc/sudoers.d/conductor", *where).splitlines()
    assert modes == ["640 root", "440 root", "700 root", "700 root", "600 root"]
    nginx = machine.checked("nginx", "-T")
    for wanted in ("worker_shutdown_timeout 3600000ms;", "upstream shop {", "include /etc/nginx/conductor.d/*.conf;"):
        assert wanted in nginx
    assert machine.checked("conductor", "supervise", "--print-unit") == machine.checked(
        "cat", "/etc/systemd/system/conductor-supervise.service"
    )
    machine.checked("systemd-analyze", "verify", "/etc/systemd/system/conductor-supervise.service")
    assert "parsed OK" in machine.checked("visudo", "-c")


def test_a_secret_reaches_conductor_unchanged(machine: Overlay) -> None:
    """The installed Conductor reads the installed files."""
    code = (
        "from pathlib import Path; from conductor.definitions.load import load;"
        "from conductor.definitions.environment import environment;"
        f"service = load(Path('{CONFIG}')).service('shop_web').service;"
        "print(ascii(environment(service)['DATABASE_URL'].reveal()))"
    )
    assert machine.checked(f"/opt/conductor/{environment()}/bin/python", "-I", "-c", code) == f"{SECRET!a}\n"
    assert SECRET.partition(" ")[0] not in machine.checked("cat", CONFIG)


def test_a_second_converge_changes_nothing(machine: Overlay) -> None:
    before = state(machine)
    outcome = chef(machine, "default")
    assert ("error" in outcome, outcome["updated"]) == (False, [])
    assert state(machine) == before


def test_the_next_converge_restores_a_removed_nginx_file(machine: Overlay) -> None:
    path = "/etc/nginx/modules-enabled/90-conductor.conf"
    machine.checked("rm", path)
    assert chef(machine, "nginx")["updated"] == ["execute[conductor nginx install]"]
    assert "worker_shutdown_timeout" in machine.checked("cat", path)


def test_a_failed_nginx_check_is_reported(machine: Overlay) -> None:
    try:
        machine.checked("mv", CONFIG, "/etc/conductor/away")
        outcome = chef(machine, "nginx")
    finally:
        machine.checked("mv", "/etc/conductor/away", CONFIG)
    assert "cannot run /usr/local/bin/conductor nginx install: " in outcome["error"]
    assert CONFIG in outcome["error"]


@pytest.mark.parametrize(
    ("service", "change", "keys"),
    [
        ("shop_web", {"image": None}, ["shop_web.image"]),
        (
            "shop_worker",
            {"port": 80, "nginx": {"upstream": "shop"}},
            ["shop_web.nginx.upstream", "shop_worker.nginx.upstream"],
        ),
        ("shop_web", {"env": {"A": {"file": "/etc/conductor/none"}}}, ["shop_web.env.A"]),
        ("shop_web", {"env_file": "/etc/conductor/none"}, ["shop_web.env_file"]),
        ("shop_web", {"helth": {"path": "/"}}, ["shop_web.helth"]),
        ("shop_web", {"env": {"N": 3}}, ["shop_web.env.N"]),
    ],
    ids=["no image", "same upstream", "no secret file", "no env file", "unknown key", "number"],
)
def test_definitions_that_conductor_rejects_leave_the_current_files(
    machine: Overlay, service: str, change: dict[str, Any], keys: list[str]
) -> None:
    before = state(machine)
    bad = bags()
    bad["conductor_secrets"]["shop_web"]["DATABASE_URL"] = "another"
    item = bad["conductor_services"][service] | change
    bad["conductor_services"][service] = {key: value for key, value in item.items() if value is not None}
    outcome = chef(machine, "definitions", data_bags=bad)
    first, _, *lines = outcome["error"].splitlines()
    assert first.startswith(f"ConductorCookbook::Error: cannot write {CONFIG}: ")
    assert len(lines) == len(keys)
    assert all(f" services.{key}: " in line for key, line in zip(keys, lines, strict=True)), lines
    assert ".chef-" not in outcome["error"]
    assert outcome["updated"] == []
    assert state(machine) == before


@pytest.mark.parametrize(
    "change",
    [{"runs_on": {"hosts": ["app9"]}}, {"secrets": ["NONE"]}, {"env": ["A=1"]}],
    ids=["no host", "no secret", "no mapping"],
)
def test_invalid_data_bags_leave_the_current_files(machine: Overlay, change: dict[str, Any]) -> None:
    before = state(machine)
    bad = bags()
    bad["conductor_services"]["shop_web"] |= change
    bad["conductor_secrets"]["shop_worker"]["DATABASE_URL"] = "another"
    outcome = chef(machine, "definitions", data_bags=bad)
    assert "item shop_web: " in outcome["error"]
    assert outcome["updated"] == []
    assert state(machine) == before


def test_a_changed_secret_alone_is_checked_too(machine: Overlay) -> None:
    """Chef does not verify definitions that do not change."""
    before = state(machine)
    bad = bags()
    bad["conductor_secrets"]["shop_web"]["DATABASE_URL"] = "a\0b"
    outcome = chef(machine, "definitions", data_bags=bad)
    assert "item shop_web: DATABASE_URL: " in outcome["error"]
    assert (outcome["updated"], state(machine)) == ([], before)


def test_a_changed_secret_is_replaced_after_the_definitions_pass_the_check(machine: Overlay) -> None:
    path, good = "/etc/conductor/secrets/shop_worker/DATABASE_URL", bags()
    good["conductor_secrets"]["shop_worker"]["DATABASE_URL"] = "another"
    good["conductor_services"]["shop_worker"]["count"] = 5
    updated = chef(machine, "definitions", data_bags=good)["updated"]
    assert updated[:2] == [f"template[{CONFIG}]", f"file[{path}]"]
    assert machine.checked("cat", path) == "another\n"
    chef(machine, "definitions")


def test_two_previous_environments_are_kept(machine: Overlay) -> None:
    machine.checked(
        "sh",
        "-c",
        "cd /opt/conductor && for n in 1 2 3; do mkdir 00000000000$n && touch -d 2020-01-0$n 00000000000$n; done;"
        "mkdir lib 0000; touch -d 2019-01-01 lib 0000 pyvenv.cfg; ln -s lib lib64",
    )
    assert chef(machine, "install")["updated"] == ["directory[/opt/conductor/000000000001]"]
    others = ["lib", "lib64", "pyvenv.cfg", "0000"]  # an installation without the cookbook has these in /opt/conductor
    expected = [environment(), "000000000002", "000000000003", *others]
    assert sorted(machine.checked("ls", "/opt/conductor").split()) == sorted(expected)
    assert machine.checked("conductor", "--version").startswith("conductor ")


def test_a_failed_first_run_does_not_restart_a_missing_unit() -> None:
    """Chef runs delayed notifications after a failure, when Conductor is installed and its unit is not."""
    bad = bags()
    bad["conductor_services"]["shop_web"]["runs_on"] = {"hosts": ["app9"]}
    with Overlay() as bare:
        bare.checked("install", "-D", "-m", "0755", "/bin/true", f"/opt/conductor/{environment()}/bin/conductor")
        outcome = chef(bare, "default", data_bags=bad)
    assert any(name.startswith("execute[link /usr/local/bin/conductor ") for name in outcome["updated"])
    assert outcome["error"].splitlines()[1:] == [outcome["error"].splitlines()[-1]]
    assert "runs_on.hosts: " in outcome["error"]
    assert [one for one in outcome["recorded"] if "supervise" in one["resource"]] == []
