"""Files of examples/, each read by the program that it is written for. Whole deploys are in tests/host."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.support.on_debian import OnDebian
from tests.support.real_parts import needs_packer

EXAMPLES = ROOT / "examples"
REVISION = "279d9035886d4c0427549863c4c2101e4a63e041"
EVERY_SERVICE = """\
web1.example.com: shop_web shop_worker
web2.example.com: shop_web shop_worker
web3.example.com: shop_web shop_worker shop_cron
"""


@pytest.fixture(scope="module")
def debian() -> Iterator[OnDebian]:
    with OnDebian(EXAMPLES) as made:
        yield made


def run(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


# capistrano/Capfile, capistrano/config/deploy.rb, capistrano/config/deploy/production.rb and
# capistrano/lib/capistrano/tasks/conductor.rake are loaded by every one of these
@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("-T",), 0, "cap deploy              # Upgrade the services of each host"),
        (("production", "services"), 0, EVERY_SERVICE),
        (("production", "services", "HOSTS=web2.example.com"), 0, "web2.example.com: shop_web shop_worker\n"),
        (("production", "deploy"), 1, 'cannot deploy revision ""'),
        (("production", "deploy", f"REVISION={REVISION[:39]}"), 1, "with all 40 digits"),
        (("production", "deploy", f"REVISION={REVISION}; id"), 1, "with all 40 digits"),
        (("production", "deploy", f"REVISION={REVISION}\nid"), 1, "with all 40 digits"),
        (("production", "deploy", f"REVISION={REVISION}", "HOSTS=web9"), 1, "cannot find HOSTS=web9"),
        (("production", "deploy", f"REVISION={REVISION}"), 1, "hosts not reached: web2.example.com, web3.example.com"),
    ],
)
def test_capistrano(debian: OnDebian, words: tuple[str, ...], code: int, text: str) -> None:
    done = debian.run("capistrano", "cap", *words)
    assert (done.returncode, "Deprecation" in done.stderr) == (code, False), done.stderr
    assert text in done.stdout + done.stderr


def test_a_role_without_services_is_rejected_before_connecting(debian: OnDebian) -> None:
    rename = (
        f"sed -i 's/cron: %w/jobs: %w/; s/app: %w/web: %w/' config/deploy.rb; cap production deploy REVISION={REVISION}"
    )
    done = debian.run("capistrano", "sh", "-c", rename)
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot deploy to web1.example.com: add services of its roles" in done.stderr


# fabric/fabfile.py
@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--list",), 0, "deploy     Upgrade the services of each host."),
        (("services",), 0, EVERY_SERVICE),
        (("deploy", f"--revision={REVISION}; id"), 2, "with all 40 digits"),
        (("rollback", "--only=web9"), 2, "cannot find host web9: expected one of web1.example.com"),
        (("deploy", f"--revision={REVISION}"), 1, "hosts not reached: web2.example.com, web3.example.com"),
    ],
)
def test_fabric(debian: OnDebian, words: tuple[str, ...], code: int, text: str) -> None:
    done = debian.run("fabric", "fab", *words)
    assert done.returncode == code, done.stderr
    assert text in done.stdout + done.stderr


@pytest.mark.parametrize("script", ["ci/deploy", "debian/build", "packer/prepare-host", "demo"])
def test_shell_scripts(script: str) -> None:
    assert run("shellcheck", EXAMPLES / script).stdout == ""
    assert run("bash", "-n", EXAMPLES / script).returncode == 0
    assert os.access(EXAMPLES / script, os.X_OK)


@pytest.mark.parametrize("revision", ["", REVISION[:39], f"{REVISION}; id", REVISION.upper()])
def test_the_ci_script_rejects_partial_revisions(revision: str) -> None:
    done = run(EXAMPLES / "ci" / "deploy", revision)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"cannot deploy revision '{revision}'" in done.stderr


@pytest.mark.parametrize(
    ("schema", "file"),
    [("vendor.github-workflows", "ci/github-actions.yml"), ("vendor.gitlab-ci", "ci/gitlab-ci.yml")],
)
def test_ci_files_match_their_schemas(schema: str, file: str) -> None:
    done = run("check-jsonschema", "--builtin-schema", schema, EXAMPLES / file)
    assert done.returncode == 0, done.stdout + done.stderr


# prometheus/conductor.rules.yml, prometheus/conductor.rules.test.yml
def test_alert_rules() -> None:
    directory = EXAMPLES / "prometheus"
    checked = run("promtool", "check", "rules", directory / "conductor.rules.yml")
    assert checked.returncode == 0, checked.stderr
    tested = run("promtool", "test", "rules", directory / "conductor.rules.test.yml")
    assert tested.returncode == 0, tested.stdout
    rules = (directory / "conductor.rules.yml").read_text().split("- alert: ")[1:]
    rule_tests = (directory / "conductor.rules.test.yml").read_text()
    assert [name for name in (rule.split()[0] for rule in rules) if f"alertname: {name}" not in rule_tests] == []


# packer/host.pkr.hcl and packer/sources.pkr.hcl
@needs_packer
@pytest.mark.parametrize(
    ("revision", "code", "text"),
    [(REVISION, 0, ""), (REVISION[:39], 1, "The revision must be 40 hexadecimal digits."), ("", 1, "40 hexadecimal")],
)
def test_packer(tmp_path: Path, revision: str, code: int, text: str) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "services.yml").touch()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key")
    for path in (EXAMPLES / "packer").iterdir():
        shutil.copy(path, tmp_path)
    done = run("packer", "validate", "-var", f"revision={revision}", "-var", "key=key", ".", cwd=tmp_path)
    assert done.returncode == code, done.stdout
    assert text in done.stdout


# prometheus/conductor.dashboard.json; a real Prometheus runs its queries in test_web.py
def test_the_dashboard_is_one_that_grafana_loads() -> None:
    dashboard = json.loads((EXAMPLES / "prometheus" / "conductor.dashboard.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells), "no panel covers another"
    assert max(x for x, _ in cells) < 24
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    assert all(panel["datasource"]["uid"] == "${datasource}" and panel["targets"] for panel in panels)
