"""The cookbook converged for real on a layer over this machine: Conductor from its wheel, and what bad data bags leave alone."""

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
    """The name of its environment."""
    return hashlib.sha256(wheel().read_bytes()).hexdigest()[:12]


def chef(machine: Overlay, *recipes: str, data_bags: dict[str, Any] | None = None) -> dict[str, Any]:
    attributes = {
        "wheel": str(wheel()),
        "pip_options": ["--no-index", "--find-links", str(wheel().parent)],
        "deploy_users": ["deploy"],
    }
    names = [f"conductor::{name}" for name in recipes]
    asked = request(recipes=names, attributes=attributes, data_bags=data_bags or bags(), perform=True)
    outcome: dict[str, Any] = json.loads(
        machine.checked("ruby", "-W", str(RUBY / "converge.rb"), given=json.dumps(asked))
    )
    return outcome


def state(machine: Overlay) -> str:
    """Definitions and secrets: bytes, owners, modes and times."""
    return machine.checked(
        "sh", "-c", "cd /etc/conductor && find . -type f -exec stat -c '%n %a %u %Y %i' {} + -exec cat {} +"
    )


@pytest.fixture(scope="module")
def machine() -> Iterator[Overlay]:
    """After a first converge, which found an installation that had broken off."""
    with Overlay() as made:
        made.checked("python3", "-m", "venv", "--without-pip", f"/opt/conductor/{environment()}")
        outcome = chef(made, "default")
        assert "error" not in outcome, outcome
        yield made


def test_conductor_is_installed_and_its_files_are_in_place(machine: Overlay) -> None:
    assert machine.checked("/usr/local/bin/conductor", "--version").startswith("conductor ")
    assert machine.checked("readlink", "/usr/local/bin/conductor") == f"/opt/conductor/{environment()}/bin/conductor\n"
    assert machine.checked("conductor", "config", "check", "--files") == f"{CONFIG}: 2 services, no problems\n"
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


def test_a_secret_reaches_conductor_as_it_is(machine: Overlay) -> None:
    """By the installed Conductor's own reading of the installed files."""
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


def test_what_nginx_lacks_is_put_back_by_the_next_converge(machine: Overlay) -> None:
    path = "/etc/nginx/modules-enabled/90-conductor.conf"
    machine.checked("rm", path)
    assert chef(machine, "nginx")["updated"] == ["execute[conductor nginx install]"]
    assert "worker_shutdown_timeout" in machine.checked("cat", path)


def test_why_nginx_cannot_be_looked_at_is_said(machine: Overlay) -> None:
    try:
        machine.checked("mv", CONFIG, "/etc/conductor/away")
        outcome = chef(machine, "nginx")
    finally:
        machine.checked("mv", "/etc/conductor/away", CONFIG)
    assert "cannot run /usr/local/bin/conductor nginx install: " in outcome["error"]
    assert CONFIG in outcome["error"]


@pytest.mark.parametrize(
    ("service", "change", "said"),
    [
        ("shop_web", {"image": None}, ["services.shop_web.image: missing required key; write an image name"]),
        (
            "shop_worker",
            {"port": 80, "nginx": {"upstream": "shop"}},
            [
                "services.shop_web.nginx.upstream: is also the upstream of shop_worker",
                "services.shop_worker.nginx.upstream: is also the upstream of shop_web",
            ],
        ),
        (
            "shop_web",
            {"env": {"A": {"file": "/etc/conductor/none"}}},
            ["/etc/conductor/none: services.shop_web.env.A: cannot be read: No such file or directory"],
        ),
        ("shop_web", {"env_file": "/etc/conductor/none"}, ["services.shop_web.env_file: cannot be read: "]),
        ("shop_web", {"helth": {"path": "/"}}, ["services.shop_web.helth: unknown key; did you mean health?"]),
        ("shop_web", {"env": {"N": 3}}, ["services.shop_web.env.N: YAML reads this as a number; put it in quotes"]),
    ],
    ids=["no image", "one upstream", "no secret", "no env file", "unknown key", "number"],
)
def test_what_conductor_refuses_leaves_the_old_files(
    machine: Overlay, service: str, change: dict[str, Any], said: list[str]
) -> None:
    before = state(machine)
    bad = bags()
    bad["conductor_secrets"]["shop_web"]["DATABASE_URL"] = "another"
    item = bad["conductor_services"][service] | change
    bad["conductor_services"][service] = {key: value for key, value in item.items() if value is not None}
    outcome = chef(machine, "definitions", data_bags=bad)
    first, *lines = outcome["error"].splitlines()
    assert first.endswith("services.ID.KEY is KEY of item ID in data bag conductor_services")
    assert f"cannot write {CONFIG}: Conductor refuses it, the old file stays; " in first
    assert len(lines) == len(said)
    assert all(wanted in line for wanted, line in zip(said, lines, strict=True)), lines
    assert outcome["updated"] == []
    assert state(machine) == before


@pytest.mark.parametrize(
    "change",
    [{"runs_on": {"hosts": ["app9"]}}, {"secrets": ["NONE"]}, {"env": ["A=1"]}],
    ids=["no host", "no secret", "no mapping"],
)
def test_what_data_bags_show_leaves_everything(machine: Overlay, change: dict[str, Any]) -> None:
    before = state(machine)
    bad = bags()
    bad["conductor_services"]["shop_web"] |= change
    bad["conductor_secrets"]["shop_worker"]["DATABASE_URL"] = "another"
    outcome = chef(machine, "definitions", data_bags=bad)
    assert "item shop_web: " in outcome["error"]
    assert outcome["updated"] == []
    assert state(machine) == before


def test_a_secret_alone_is_judged_too(machine: Overlay) -> None:
    """Definitions that stay as they are Chef does not verify."""
    before = state(machine)
    bad = bags()
    bad["conductor_secrets"]["shop_web"]["DATABASE_URL"] = "a\0b"
    outcome = chef(machine, "definitions", data_bags=bad)
    assert "item shop_web: DATABASE_URL: must not contain a NUL" in outcome["error"]
    assert (outcome["updated"], state(machine)) == ([], before)


def test_a_changed_secret_is_replaced_after_the_definitions_are_accepted(machine: Overlay) -> None:
    path, good = "/etc/conductor/secrets/shop_worker/DATABASE_URL", bags()
    good["conductor_secrets"]["shop_worker"]["DATABASE_URL"] = "another"
    good["conductor_services"]["shop_worker"]["count"] = 5
    updated = chef(machine, "definitions", data_bags=good)["updated"]
    assert updated[:2] == [f"template[{CONFIG}]", f"file[{path}]"]
    assert machine.checked("cat", path) == "another\n"
    chef(machine, "definitions")


def test_superseded_environments_go_but_for_two(machine: Overlay) -> None:
    machine.checked(
        "sh",
        "-c",
        "cd /opt/conductor && for n in 1 2 3; do mkdir 00000000000$n && touch -d 2020-01-0$n 00000000000$n; done;"
        "mkdir lib 0000; touch -d 2019-01-01 lib 0000 pyvenv.cfg; ln -s lib lib64",
    )
    assert chef(machine, "install")["updated"] == ["directory[/opt/conductor/000000000001]"]
    theirs = ["lib", "lib64", "pyvenv.cfg", "0000"]  # as an environment of Conductor's that stands there itself has
    expected = [environment(), "000000000002", "000000000003", *theirs]
    assert sorted(machine.checked("ls", "/opt/conductor").split()) == sorted(expected)
    assert machine.checked("conductor", "--version").startswith("conductor ")


def test_a_first_run_that_is_refused_asks_for_no_unit_that_is_not_there() -> None:
    """Chef does what is delayed after a failure as well: Conductor is installed by then, its unit is not."""
    bad = bags()
    bad["conductor_services"]["shop_web"]["runs_on"] = {"hosts": ["app9"]}
    with Overlay() as bare:
        bare.checked("install", "-D", "-m", "0755", "/bin/true", f"/opt/conductor/{environment()}/bin/conductor")
        outcome = chef(bare, "default", data_bags=bad)
    assert any(name.startswith("execute[link /usr/local/bin/conductor ") for name in outcome["updated"])
    assert outcome["error"].splitlines()[1:] == [outcome["error"].splitlines()[-1]]
    assert "runs_on.hosts: app9 does not exist" in outcome["error"]
    assert [one for one in outcome["recorded"] if "supervise" in one["resource"]] == []
