"""The cookbook's recipes and custom resources on a recorder: resources and actions in order, and rejected data bags."""

import json
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.chef_runs import converge, example_bags

UNIT = "# a unit as the installed Conductor prints it\n"
CHECK, INSTALL = "/usr/local/bin/conductor nginx show --check", "execute[conductor nginx install]"
ANSWERS: dict[str, str | None] = {
    "/usr/local/bin/conductor supervise --print-unit": UNIT,
    CHECK: None,  # fails
    "/usr/local/bin/conductor web --print-unit": "# the unit of the page\n",
    "/usr/local/bin/conductor web --print-socket": "# its socket\n",
}
SUPERVISE = "systemd_unit[conductor-supervise.service]"
RESTART = "execute[restart conductor-supervise]"
DROP_IN = "template[/etc/systemd/system/conductor-supervise.service.d/conductor.conf]"
RECIPES = ("install", "definitions", "nginx", "supervise", "web", "deploys")
STATUS = "template[/etc/nginx/conf.d/conductor-status.conf]"
LOAD, WEB_RESTART = "execute[load the status page into nginx]", "execute[restart conductor-web]"
PAGE: dict[str, Any] = {
    "enabled": True, "server_name": "status.example.com", "certificate": "/etc/ssl/certs/status.pem",
    "certificate_key": "/etc/ssl/private/status.key", "user_file": "/etc/nginx/status.htpasswd", "metrics_from": ["192.0.2.0/24"],
}  # fmt: skip


def recipe(*names: str, **options: Any) -> dict[str, Any]:
    recipes = [f"conductor::{name}" for name in names]
    attributes = {"wheel": __file__, "deploy_users": ["deploy"], **options.pop("attributes", {})}
    answers = ANSWERS | options.pop("answers", {})
    return converge(recipes=recipes, answers=answers, attributes=attributes, **options)


def definitions(bags: dict[str, Any], node: str = "app1") -> dict[str, Any]:
    words = ("conductor_definitions", "/etc/conductor/services.yml")
    return converge(resource=words, data_bags=bags, node=node)


def changed(bag: str, item: str, /, **keys: Any) -> dict[str, Any]:
    """Return the example bags with one item added or changed; None removes a key."""
    bags = example_bags()
    bags[bag][item] = {**bags[bag].get(item, {"id": item}), **keys}
    bags[bag][item] = {key: value for key, value in bags[bag][item].items() if value is not None}
    return bags


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    outcome = recipe("default")
    assert "error" not in outcome, outcome
    return outcome


def test_a_whole_host_in_order(whole: dict[str, Any]) -> None:
    order = [
        "conductor_install[", "execute[link /usr/local/bin/conductor to ", "conductor_definitions[",
        "file[/etc/conductor/secrets/shop_web/DATABASE_URL]", "template[/etc/conductor/services.yml]",
        "directory[/etc/nginx/conductor.d]", "template[/etc/nginx/conf.d/conductor.conf]", INSTALL, DROP_IN, SUPERVISE,
        "template[/etc/sudoers.d/conductor]",
    ]  # fmt: skip
    names = [one["resource"] for one in whole["recorded"]]
    places = [next(at for at, name in enumerate(names) if name.startswith(wanted)) for wanted in order]
    assert places == sorted(places)


def test_nothing_is_deployed_and_supervise_reloads_at_the_end(whole: dict[str, Any]) -> None:
    assert [(one["resource"], one["action"]) for one in whole["recorded"][-2:]] == [
        (RESTART, "run"),
        (SUPERVISE, "reload"),
    ]
    commands = json.dumps([one.get("command", one["resource"]) for one in whole["recorded"]])
    assert "upgrade" not in commands
    assert "service restart" not in commands


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_works_alone(name: str) -> None:
    outcome = recipe(name)
    assert "error" not in outcome, outcome
    assert [one for one in outcome["recorded"] if one["resource"] == RESTART] == (
        [] if name != "supervise" else outcome["recorded"][-1:]
    )


def test_a_debian_package_is_installed_in_place_of_the_wheel() -> None:
    outcome = recipe("default", attributes={"deb": "/srv/conductor.deb"})
    assert "error" not in outcome, outcome
    recorded = outcome["recorded"]
    assert recorded[0]["resource"] == "package[python3]"
    assert {key: recorded[1][key] for key in ("resource", "action", "source")} == {
        "resource": "dpkg_package[conductor]", "action": "upgrade", "source": "/srv/conductor.deb",
    }  # fmt: skip
    assert [one["resource"] for one in recorded if one["resource"].startswith("conductor_install[")] == []
    assert [one["action"] for one in recorded if one["resource"] == SUPERVISE] == ["enable", "start", "reload"]
    without = recipe("install", attributes={"wheel": None})
    assert "cannot install Conductor: " in without["error"]


@pytest.mark.parametrize(
    ("check", "installs"), [("", False), (None, True)], ids=["in place", "differs or cannot be checked"]
)
def test_nginx_install_runs_only_when_its_check_fails(check: str | None, installs: bool) -> None:
    recorded = recipe("nginx", answers={CHECK: check})["recorded"]
    assert (INSTALL in [one["resource"] for one in recorded]) == installs


def test_the_command_exists_at_every_moment_of_an_upgrade(tmp_path: Path) -> None:
    link = tmp_path / "conductor"
    link.symlink_to("before")
    properties = {"command": str(link), "install_dir": str(tmp_path)}
    recorded = converge(resource=("conductor_install", __file__), properties=properties)["recorded"]
    command = next(one["command"] for one in recorded if one["resource"].startswith(f"execute[link {link} to "))
    missing, over = [], threading.Event()

    def watch() -> None:
        while not over.is_set():
            missing.extend([] if os.path.lexists(link) else ["gone"])

    with ThreadPoolExecutor() as pool:
        pool.submit(watch)
        for _ in range(100):
            subprocess.run(command, check=True)
        over.set()
    assert missing == []
    assert link.readlink().is_relative_to(tmp_path)


def test_every_file_has_an_owner_and_a_mode_and_secrets_are_sensitive(whole: dict[str, Any]) -> None:
    files = {one["resource"]: one for one in whole["recorded"] if one["resource"].startswith(("file[", "template["))}
    assert all(one["owner"] == one["group"] == "root" and one["mode"] for one in files.values())
    secrets = {name: one for name, one in files.items() if "/secrets/" in name}
    assert len(secrets) == 3
    for one in secrets.values():
        assert (one["mode"], one["sensitive"], one["backup"]) == ("0600", True, False)
    written = files["template[/etc/conductor/services.yml]"]
    assert (written["mode"], written["sensitive"]) == ("0640", True)
    assert files["template[/etc/sudoers.d/conductor]"]["mode"] == "0440"


def test_the_unit_is_the_one_that_conductor_prints(whole: dict[str, Any]) -> None:
    units = [one for one in whole["recorded"] if one["resource"] == SUPERVISE]
    assert [one["action"] for one in units[:3]] == ["create", "enable", "start"]
    assert units[0]["content"] == UNIT


def test_only_secrets_of_services_on_the_host_are_fetched(whole: dict[str, Any]) -> None:
    fetched = {name for name in whole["fetched"] if name.startswith("conductor_secrets/")}
    assert fetched == {"conductor_secrets/shop_web", "conductor_secrets/shop_worker"}
    jobs = definitions(example_bags(), "jobs1")
    assert {name for name in jobs["fetched"] if name.startswith("conductor_secrets/")} == {
        "conductor_secrets/shop_cron",
        "conductor_secrets/shop_worker",
    }


def test_the_status_page_is_installed_only_if_it_is_enabled(whole: dict[str, Any]) -> None:
    assert [one for one in whole["recorded"] if "conductor-web" in one["resource"]] == []
    assert [one["action"] for one in whole["recorded"] if one["resource"] == STATUS] == ["delete"]
    recorded = recipe("install", "web", attributes={"web": PAGE})["recorded"]
    units = [(one["resource"], one["action"]) for one in recorded if one["resource"].startswith("systemd_unit[")]
    service, socket = "systemd_unit[conductor-web.service]", "systemd_unit[conductor-web.socket]"
    assert units == [(service, "create"), (socket, "create"), (socket, "enable"), (socket, "start")]
    contents = [one["content"] for one in recorded if one["action"] == "create" and "content" in one]
    assert contents == ["# the unit of the page\n", "# its socket\n"]
    names = [one["resource"] for one in recorded]
    assert names[names.index(STATUS) + 1] == LOAD, "nginx loads it before anything else happens"
    assert names[-1] == WEB_RESTART


def test_the_status_page_has_an_environment_of_its_own_with_its_libraries() -> None:
    commands = [
        next(
            one["command"]
            for one in recipe("install", attributes={"web": web})["recorded"]
            if "pip" in str(one.get("command"))
        )
        for web in ({"enabled": False}, PAGE)
    ]
    assert [command[-1] for command in commands] == [__file__, f"{__file__}[web]"]
    assert commands[0][0] != commands[1][0]


def test_a_status_page_without_a_server_name_has_no_server_block() -> None:
    recorded = recipe("web", attributes={"web": {**PAGE, "server_name": None}})["recorded"]
    assert [one["action"] for one in recorded if one["resource"] == STATUS] == ["delete"]


def test_the_status_page_reads_a_moved_runtime_directory() -> None:
    options = "--runtime-dir /run/c2"
    answers = {f"/usr/local/bin/conductor web {word} {options}": word for word in ("--print-unit", "--print-socket")}
    outcome = recipe("web", attributes={"web": PAGE, "host": {"runtime_dir": "/run/c2"}}, answers=answers)
    assert [one["content"] for one in outcome["recorded"] if "content" in one][:2] == ["--print-unit", "--print-socket"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server_name", "a; include /etc/passwd"), ("certificate", None), ("certificate_key", "status.key"),
        ("user_file", "/etc/a b"), ("metrics_from", ["all; deny"]), ("metrics_from", ["prometheus"]),
    ],
)  # fmt: skip
def test_an_invalid_status_page_is_rejected(key: str, value: Any) -> None:
    outcome = recipe("web", attributes={"web": {**PAGE, key: value}})
    assert outcome["error"].startswith(
        "ConductorCookbook::Error: cannot write nginx's server block of the status page: "
    )
    assert f"has no valid {key}: " in outcome["error"]
    assert outcome["recorded"] == []


def test_without_deploy_users_the_sudoers_file_is_removed() -> None:
    outcome = recipe("deploys", attributes={"deploy_users": []})
    assert [(one["resource"], one["action"]) for one in outcome["recorded"]] == [
        ("template[/etc/sudoers.d/conductor]", "delete")
    ]


@pytest.mark.parametrize("user", ["ALL", "deploy ALL", "deploy\nroot", "", "#0", "deploy,root"])
def test_an_invalid_deploy_user_is_rejected(user: str) -> None:
    outcome = recipe("deploys", attributes={"deploy_users": ["deploy", user]})
    assert outcome["error"].startswith("ConductorCookbook::Error: cannot write sudoers: ")
    assert outcome["recorded"] == []


def test_moved_paths_are_used_everywhere() -> None:
    paths = {
        "state_dir": "/srv/c2",
        "runtime_dir": "/run/c2",
        "nginx": {"include_dir": "/srv/n2"},
        "cron": {"dir": "/c2"},
    }
    outcome = recipe("nginx", "supervise", attributes={"host": paths})
    resources = {one["resource"]: one for one in outcome["recorded"]}
    for wanted in ("/srv/n2", "/srv/c2"):
        assert f"directory[{wanted}]" in resources
    assert resources[DROP_IN]["variables"]["paths"] == ["/srv/c2", "/run/c2", "/srv/n2", "/c2"]
    assert resources[DROP_IN]["variables"]["state_dir"] == "/srv/c2"


def test_a_changed_host_section_changes_the_drop_in_and_restarts_supervise() -> None:
    outcomes = [recipe("supervise", attributes={"host": host}) for host in ({}, {"keep": 4})]
    drop_ins = [next(one for one in outcome["recorded"] if one["resource"] == DROP_IN) for outcome in outcomes]
    assert drop_ins[0]["variables"] != drop_ins[1]["variables"]
    assert [outcome["recorded"][-1]["resource"] for outcome in outcomes] == [RESTART, RESTART]


@pytest.mark.parametrize(
    ("bags", "problems"),
    [
        (
            changed("conductor_services", "shop_web", runs_on={"hosts": ["app9"], "roles": ["ap"]}),
            [
                "data bag conductor_services, item shop_web: runs_on.hosts: unknown host app9; expected one of app1, app2, jobs1 (data bag conductor_hosts)",
                "data bag conductor_services, item shop_web: runs_on.roles: unknown role ap; expected one of app, jobs (data bag conductor_hosts)",
            ],
        ),
        (
            changed("conductor_services", "shop_web", runs_on=None),
            ["data bag conductor_services, item shop_web: runs_on: must be "],
        ),
        (
            changed("conductor_services", "shop_web", runs_on={"host": ["app1"]}),
            ["data bag conductor_services, item shop_web: runs_on: must be "],
        ),
        (
            changed("conductor_secrets", "shop_web", DATABASE_URL=None, SECRET_KEY_BASE=7),
            [
                "data bag conductor_secrets, item shop_web: DATABASE_URL: missing, ",
                "data bag conductor_secrets, item shop_web: SECRET_KEY_BASE: must be a string, not integer",
            ],
        ),
        (
            changed("conductor_services", "shop_worker", secrets=["PASSWORD"]),
            ["data bag conductor_secrets, item shop_worker: PASSWORD: missing, "],
        ),
        (
            changed("conductor_services", "shop_web", env={"DATABASE_URL": "x"}),
            ["data bag conductor_services, item shop_web: env.DATABASE_URL: also listed in secrets; keep one"],
        ),
        (
            changed("conductor_services", "shop_web", secrets=["../../cron.d/x"]),
            ["data bag conductor_services, item shop_web: secrets: must be a list of names, "],
        ),
        (
            changed("conductor_secrets", "shop_web", DATABASE_URL="a\0b"),
            ["data bag conductor_secrets, item shop_web: DATABASE_URL: must not contain a NUL byte"],
        ),
        (
            changed("conductor_services", "..", runs_on={"roles": ["app"]}, secrets=["services.yml"]),
            ["data bag conductor_services, item ..: id: must be 1 to 63 lower-case letters, "],
        ),
        (
            changed("conductor_services", "shop_web", env=["RAILS_ENV=production"]),
            ["data bag conductor_services, item shop_web: env: must be a mapping, for example "],
        ),
        (
            changed("conductor_services", "shop_web", env="RAILS_ENV=production"),
            ["data bag conductor_services, item shop_web: env: must be a mapping, for example "],
        ),
        (
            changed("conductor_services", "shop_web", runs_on={"hosts": [], "roles": None}),
            [
                "data bag conductor_services, item shop_web: runs_on.hosts: must be a non-empty list",
                "data bag conductor_services, item shop_web: runs_on.roles: must be a non-empty list",
            ],
        ),
    ],
)
def test_invalid_data_bags_are_rejected_before_anything_is_written(bags: dict[str, Any], problems: list[str]) -> None:
    outcome = definitions(bags)
    first, *lines = outcome["error"].splitlines()
    assert first.startswith("ConductorCookbook::Error: cannot write the definitions: ")
    assert len(lines) == len(problems)
    for problem in problems:
        assert problem in outcome["error"]
    assert outcome["updated"] == []


def test_a_machine_without_an_item_is_rejected() -> None:
    outcome = definitions(example_bags(), "app7")
    assert "data bag conductor_hosts: no item app7: " in outcome["error"]
    assert outcome["updated"] == []


def test_a_wheel_is_required_and_a_url_needs_its_checksum() -> None:
    assert "set node['conductor']['wheel']" in recipe("install", attributes={"wheel": None})["error"]
    url = "https://files.example.com/conductor-1-py3-none-any.whl"
    assert "set checksum to its SHA-256" in converge(resource=("conductor_install", url))["error"]
