"""The Capistrano, Fabric and CI examples deploy unchanged from an operator's machine to three hosts with two roles."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
import yaml

from tests.support.fleet import Fleet
from tests.support.host_image import Release
from tests.support.load import LoadResult
from tests.support.machine_network import Ran
from tests.support.shop_fleet import EXAMPLES, OPERATOR, REVISIONS, WEBS, Shop, prepare, settle

pytestmark = pytest.mark.long
R1, R2, R3, R4, R5 = REVISIONS


@pytest.fixture(scope="module")
def module_shop(images: None, release: Release) -> Iterator[Shop]:
    with Fleet(*WEBS, OPERATOR, release=release) as fleet:
        yield prepare(fleet)


@pytest.fixture
def shop(module_shop: Shop, request: pytest.FixtureRequest) -> Iterator[Shop]:
    before = request.session.testsfailed
    yield module_shop
    if request.session.testsfailed > before:
        print(module_shop.fleet.describe())


def run(shop: Shop, directory: str, command: str) -> Ran:
    """Run a command on the operator's machine."""
    return shop.operator.run("bash", "-c", f"cd /root/{directory} && {command}", check=False, timeout=300)


@contextlib.contextmanager
def load_on_each(shop: Shop) -> Iterator[dict[str, LoadResult]]:
    """Run busy and idle clients on every host; their results are available at the end."""
    results: dict[str, LoadResult] = {}
    with contextlib.ExitStack() as stack:
        loads = {name: stack.enter_context(site.load("shop_web", busy=6, idle=10)) for name, site in shop.sites.items()}
        yield results
        results.update({name: load.stop() for name, load in loads.items()})
    for name, result in results.items():
        print(f"{name}: {result}")


def assert_no_request_lost(results: dict[str, LoadResult], *revisions: str) -> None:
    for name, result in results.items():
        assert result.lost == 0, f"{name}: {result}"
        assert list(result.revisions) == [REVISIONS[r] for r in revisions], f"{name}: {result}"


def everywhere(*revisions: str) -> dict[str, set[str]]:
    """Return one revision per host, or the same for all."""
    each = revisions if len(revisions) == len(WEBS) else revisions * len(WEBS)
    return {name: {REVISIONS[revision]} for name, revision in zip(WEBS, each, strict=True)}


def test_capistrano_deploys_to_all_hosts(shop: Shop) -> None:
    first = run(shop, "capistrano", f"cap production deploy REVISION={R1}")
    assert first.code == 0, first
    with load_on_each(shop) as results:
        second = run(shop, "capistrano", f"cap production deploy REVISION={R2}")
        time.sleep(0.5)
    assert second.code == 0, second
    assert_no_request_lost(results, R1, R2)
    assert shop.revisions() == everywhere(R2)
    assert [name for name in WEBS if shop.sites[name].machine.exists("/etc/cron.d/conductor-shop_cron")] == [WEBS[2]]
    history = shop.sites[WEBS[0]].machine.read("/var/lib/conductor/history.jsonl")
    assert "deploy (as root)" in history


def test_a_broken_revision_stops_at_the_first_host(shop: Shop) -> None:
    shop.break_revision(R3, *WEBS)
    before = {name: site.replicas() for name, site in shop.sites.items()}
    with load_on_each(shop) as results:
        broken = run(shop, "capistrano", f"cap production deploy REVISION={R3}")
    assert broken.code == 1, broken
    assert "the configuration is missing its moon phase" in broken.output, "the app's own error"
    assert f"upgrade stopped at {WEBS[0]}: " in broken.stderr
    assert f"  hosts not reached: {WEBS[1]}, {WEBS[2]}" in broken.stderr.splitlines()
    assert_no_request_lost(results, R2)
    assert {name: site.replicas() for name, site in shop.sites.items()} == before
    for name in WEBS[1:]:
        assert R3 not in shop.sites[name].machine.read("/var/lib/conductor/history.jsonl")


def test_the_reported_command_rolls_back_a_deploy_that_failed_at_the_second_host(shop: Shop) -> None:
    shop.break_revision(R3, WEBS[1])
    with load_on_each(shop) as results:
        broken = run(shop, "capistrano", f"cap production deploy REVISION={R3}")
        assert broken.code == 1, broken
        assert shop.revisions() == everywhere(R3, R2, R2)
        rollback = broken.stderr.partition("to roll back the changed hosts: ")[2].splitlines()[0]
        assert rollback == f"cap production rollback HOSTS={WEBS[0]}"
        rolled_back = run(shop, "capistrano", rollback)
    assert rolled_back.code == 0, rolled_back
    assert shop.revisions() == everywhere(R2)
    assert [list(results[name].revisions) for name in WEBS] == [["r2", "r3"], ["r2"], ["r2"]]
    assert [results[name].lost for name in WEBS] == [0, 0, 0], results


def test_progress_is_shown_live(shop: Shop) -> None:
    shop.break_revision(R5)
    command = f"cd /root/capistrano && cap production deploy REVISION={R4} HOSTS={WEBS[0]}"
    with shop.operator.spawn("bash", "-c", command, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        seen = [(time.monotonic(), line) for line in process.stdout]
    assert process.returncode == 0
    progress = [moment for moment, line in seen if "shop_web" in line and "sudo" not in line]
    assert progress[-1] - progress[0] > 1.0, seen
    assert run(shop, "capistrano", f"cap production deploy REVISION={R4}").code == 0


def test_fabric_deploys_and_rolls_back(shop: Shop) -> None:
    shop.break_revision(R5, WEBS[1])
    with load_on_each(shop) as results:
        done = run(shop, "fabric", f"fab deploy --revision={R2}")
        assert done.code == 0, done
        assert shop.revisions() == everywhere(R2)
        broken = run(shop, "fabric", f"fab deploy --revision={R5}")
        assert broken.code == 1, broken
        assert "the configuration is missing its moon phase" in broken.output
        assert f"upgrade stopped at {WEBS[1]}: " in broken.stderr
        assert f"  hosts not reached: {WEBS[2]}" in broken.stderr.splitlines()
        assert shop.revisions() == everywhere(R5, R2, R2)
        rollback = broken.stderr.partition("to roll back the changed hosts: ")[2].splitlines()[0]
        rolled_back = run(shop, "fabric", rollback)
    assert rolled_back.code == 0, rolled_back
    assert shop.revisions() == everywhere(R2)
    assert [results[name].lost for name in WEBS] == [0, 0, 0], results


@pytest.mark.parametrize(
    ("directory", "command", "revision"),
    [
        ("capistrano", f"cap production deploy REVISION={R4} HOSTS={WEBS[0]}", R4),
        ("fabric", f"fab deploy --revision={R1}", R1),
        ("ci", f"./deploy {R4}", R4),
    ],
)
def test_an_upgrade_continues_after_the_deploy_is_killed(
    shop: Shop, directory: str, command: str, revision: str
) -> None:
    """The deploy and its connection are killed during the upgrade of the first host."""
    site = shop.sites[WEBS[0]]
    group = f"setsid {command} >/tmp/output 2>&1 & echo $! >/tmp/group; wait $!"
    with shop.operator.spawn("bash", "-c", f"cd /root/{directory}; {group}", stdout=None, stderr=None) as process:
        site.machine.wait_for(
            lambda: site.machine.exists("/var/lib/conductor/journal/shop_web.json"), "the upgrade to start"
        )
        shop.operator.run("bash", "-c", "kill -KILL -- -$(cat /tmp/group)")
        assert process.wait(20) == 128 + signal.SIGKILL
    settle(site, revision, {"shop_web": 2, "shop_worker": 1})
    assert shop.revisions() == {WEBS[0]: {REVISIONS[revision]}, WEBS[1]: {"r2"}, WEBS[2]: {"r2"}}


def test_a_later_deploy_upgrades_all_hosts(shop: Shop) -> None:
    assert run(shop, "ci", f"./deploy {R2}").code == 0
    assert shop.revisions() == everywhere(R2)


def test_an_unknown_host_is_rejected(shop: Shop) -> None:
    for directory, command in {
        "capistrano": f"cap production deploy REVISION={R1}",
        "fabric": f"fab deploy --revision={R1}",
        "ci": f"./deploy {R1}",
    }.items():
        rejected = run(
            shop,
            directory,
            f"mv ~/.ssh/known_hosts ~/known; {command}; code=$?; mv ~/known ~/.ssh/known_hosts; exit $code",
        )
        assert rejected.code != 0, rejected
        assert shop.revisions() == everywhere(R2), rejected


def test_the_jobs_of_github_and_gitlab(shop: Shop) -> None:
    """Run the jobs' steps in a checkout with ci/deploy, as a user who has only the jobs' secrets."""
    operator = shop.operator
    operator.run(
        "sh",
        "-c",
        "useradd --create-home ci; install -d -o ci /home/ci/repository; cp -R /root/ci /home/ci/repository/",
    )
    key, known = operator.read("/root/.ssh/id_ed25519"), operator.read("/root/.ssh/known_hosts")
    github = yaml.safe_load((EXAMPLES / "ci" / "github-actions.yml").read_text())
    steps = [step["run"] for step in github["jobs"]["deploy"]["steps"] if "run" in step]
    secrets = {"DEPLOY_KEY": key.rstrip("\n"), "DEPLOY_KNOWN_HOSTS": known.rstrip("\n"), "REVISION": R1}
    for step in steps:
        operator.run(
            "bash",
            "-e",
            "-o",
            "pipefail",
            "-c",
            f"cd ~/repository\n{step}",
            user="ci",
            env=secrets | {"HOME": "/home/ci"},
        )
    assert shop.revisions() == everywhere(R1)
    operator.run("rm", "-r", "/home/ci/.ssh")
    for name, content in (("key", key), ("known", known)):
        operator.put(f"/home/ci/{name}", content, 0o644, owner="ci:ci")
    job = yaml.safe_load((EXAMPLES / "ci" / "gitlab-ci.yml").read_text())["deploy"]
    script = "\n".join(["set -eo pipefail; cd ~/repository", *job["before_script"], *job["script"]])
    given = {
        "DEPLOY_KEY": "/home/ci/key",
        "DEPLOY_KNOWN_HOSTS": "/home/ci/known",
        "CI_COMMIT_SHA": R2,
        "HOME": "/home/ci",
    }
    operator.run("bash", "-c", script, user="ci", env=given)
    assert shop.revisions() == everywhere(R2)


def test_the_ci_script_exits_with_conductors_exit_code(shop: Shop) -> None:
    shop.break_revision(R5, WEBS[1])
    broken = run(shop, "ci", f"./deploy {R5}")
    assert broken.code == 1, broken
    assert f"stopped at {WEBS[1]} with exit code 1; completed before: {WEBS[0]}" in broken.stderr
    assert shop.revisions() == everywhere(R5, R2, R2)
