"""Three hosts and two roles, deployed to from a fourth by the examples as they are: Capistrano, Fabric, and a CI job."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
import yaml

from tests.support.fleet import Fleet
from tests.support.load import Load, LoadResult
from tests.support.machine_network import Ran
from tests.support.shop_fleet import EXAMPLES, OPERATOR, REVISIONS, WEBS, Shop, prepare, settle

pytestmark = pytest.mark.long
R1, R2, R3, R4, R5 = REVISIONS


@pytest.fixture(scope="module")
def module_shop(images: None) -> Iterator[Shop]:
    with Fleet(*WEBS, OPERATOR) as fleet:
        yield prepare(fleet)


@pytest.fixture
def shop(module_shop: Shop, request: pytest.FixtureRequest) -> Iterator[Shop]:
    before = request.session.testsfailed
    yield module_shop
    if request.session.testsfailed > before:
        print(module_shop.fleet.describe())


def typed(shop: Shop, directory: str, command: str) -> Ran:
    """What the operator types, and how it ended."""
    return shop.operator.run("bash", "-c", f"cd /root/{directory} && {command}", check=False, timeout=300)


@contextlib.contextmanager
def load_on_each(shop: Shop) -> Iterator[dict[str, LoadResult]]:
    """Busy and idle clients on every host; what they counted is there at the end."""
    results: dict[str, LoadResult] = {}
    with contextlib.ExitStack() as stack:
        loads = {
            name: stack.enter_context(Load(site.url("shop_web"), busy=6, idle=10)) for name, site in shop.sites.items()
        }
        yield results
        results.update({name: load.stop() for name, load in loads.items()})
    for name, result in results.items():
        print(f"{name}: {result}")


def nothing_lost(results: dict[str, LoadResult], *revisions: str) -> None:
    for name, result in results.items():
        assert result.lost == 0, f"{name}: {result}"
        assert list(result.revisions) == [REVISIONS[r] for r in revisions], f"{name}: {result}"


def everywhere(*revisions: str) -> dict[str, set[str]]:
    """One for each host, or the same for all."""
    each = revisions if len(revisions) == len(WEBS) else revisions * len(WEBS)
    return {name: {REVISIONS[revision]} for name, revision in zip(WEBS, each, strict=True)}


def test_capistrano_deploys_to_all_hosts(shop: Shop) -> None:
    first = typed(shop, "capistrano", f"cap production deploy REVISION={R1}")
    assert first.code == 0, first
    with load_on_each(shop) as results:
        second = typed(shop, "capistrano", f"cap production deploy REVISION={R2}")
        time.sleep(0.5)
    assert second.code == 0, second
    nothing_lost(results, R1, R2)
    assert shop.revisions() == everywhere(R2)
    assert [name for name in WEBS if shop.sites[name].machine.exists("/etc/cron.d/conductor-shop_cron")] == [WEBS[2]]
    history = shop.sites[WEBS[0]].machine.read("/var/lib/conductor/history.jsonl")
    assert "deploy (as root)" in history


def test_a_broken_revision_stops_at_the_first_host(shop: Shop) -> None:
    shop.break_revision(R3, *WEBS)
    before = {name: site.containers() for name, site in shop.sites.items()}
    with load_on_each(shop) as results:
        broken = typed(shop, "capistrano", f"cap production deploy REVISION={R3}")
    assert broken.code == 1, broken
    assert "the configuration is missing its moon phase" in broken.output, "the app's own last words"
    assert f"shop_web {R2} still runs" in broken.output, broken
    assert f"upgrade stopped at {WEBS[0]}: Conductor's words are above" in broken.stderr
    assert f"not touched: {WEBS[1]}, {WEBS[2]}" in broken.stderr
    nothing_lost(results, R2)
    assert {name: site.containers() for name, site in shop.sites.items()} == before
    for name in WEBS[1:]:
        assert R3 not in shop.sites[name].machine.read("/var/lib/conductor/history.jsonl")


def test_one_that_is_broken_on_the_second_host_only_is_taken_back_by_what_it_says(shop: Shop) -> None:
    shop.break_revision(R3, WEBS[1])
    with load_on_each(shop) as results:
        broken = typed(shop, "capistrano", f"cap production deploy REVISION={R3}")
        assert broken.code == 1, broken
        assert shop.revisions() == everywhere(R3, R2, R2)
        back = broken.stderr.partition("take back what was done: ")[2].splitlines()[0]
        assert back == f"cap production rollback HOSTS={WEBS[0]}"
        taken = typed(shop, "capistrano", back)
    assert taken.code == 0, taken
    assert shop.revisions() == everywhere(R2)
    assert [list(results[name].revisions) for name in WEBS] == [["r2", "r3"], ["r2"], ["r2"]]
    assert [results[name].lost for name in WEBS] == [0, 0, 0], results


def test_what_conductor_says_comes_live(shop: Shop) -> None:
    """Its lines come while it works, not all at its end."""
    shop.break_revision(R5)
    command = f"cd /root/capistrano && cap production deploy REVISION={R4} HOSTS={WEBS[0]}"
    with shop.operator.spawn("bash", "-c", command, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        seen = [(time.monotonic(), line) for line in process.stdout]
    assert process.returncode == 0
    ours = [moment for moment, line in seen if "shop_web" in line and "sudo" not in line]
    assert ours[-1] - ours[0] > 1.0, seen
    assert typed(shop, "capistrano", f"cap production deploy REVISION={R4}").code == 0


def test_fabric_does_the_same(shop: Shop) -> None:
    shop.break_revision(R5, WEBS[1])
    with load_on_each(shop) as results:
        done = typed(shop, "fabric", f"fab deploy --revision={R2}")
        assert done.code == 0, done
        assert shop.revisions() == everywhere(R2)
        broken = typed(shop, "fabric", f"fab deploy --revision={R5}")
        assert broken.code == 1, broken
        assert "the configuration is missing its moon phase" in broken.output
        assert f"upgrade stopped at {WEBS[1]}: Conductor's words are above" in broken.stderr
        assert f"not touched: {WEBS[2]}" in broken.stderr
        assert shop.revisions() == everywhere(R5, R2, R2)
        back = broken.stderr.partition("take back what was done: ")[2].splitlines()[0]
        taken = typed(shop, "fabric", back)
    assert taken.code == 0, taken
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
def test_an_upgrade_outlives_the_deploy(shop: Shop, directory: str, command: str, revision: str) -> None:
    """The operator's program is killed, and its connection with it, while the first host is at work."""
    site = shop.sites[WEBS[0]]
    group = f"setsid {command} >/tmp/said 2>&1 & echo $! >/tmp/group; wait $!"
    with shop.operator.spawn("bash", "-c", f"cd /root/{directory}; {group}", stdout=None, stderr=None) as process:
        site.machine.wait_for(lambda: site.machine.exists("/var/lib/conductor/journal/shop_web.json"), "it to begin")
        shop.operator.run("bash", "-c", "kill -KILL -- -$(cat /tmp/group)")
        assert process.wait(20) == 128 + signal.SIGKILL
    settle(site, revision, {"shop_web": 2, "shop_worker": 1})
    assert shop.revisions() == {WEBS[0]: {REVISIONS[revision]}, WEBS[1]: {"r2"}, WEBS[2]: {"r2"}}


def test_all_are_the_same_again(shop: Shop) -> None:
    assert typed(shop, "ci", f"./deploy {R2}").code == 0
    assert shop.revisions() == everywhere(R2)


def test_a_host_that_is_not_known_is_refused(shop: Shop) -> None:
    for directory, command in {
        "capistrano": f"cap production deploy REVISION={R1}",
        "fabric": f"fab deploy --revision={R1}",
        "ci": f"./deploy {R1}",
    }.items():
        refused = typed(
            shop,
            directory,
            f"mv ~/.ssh/known_hosts ~/known; {command}; code=$?; mv ~/known ~/.ssh/known_hosts; exit $code",
        )
        assert refused.code != 0, refused
        assert shop.revisions() == everywhere(R2), refused


def test_the_jobs_of_github_and_gitlab(shop: Shop) -> None:
    """Their own steps, in a checkout of the repository that has ci/deploy, as another user with only what they were given."""
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


def test_the_ci_script_ends_with_conductors_exit_code(shop: Shop) -> None:
    shop.break_revision(R5, WEBS[1])
    broken = typed(shop, "ci", f"./deploy {R5}")
    assert broken.code == 1, broken
    assert f"stopped at {WEBS[1]} (exit code 1), see above; done before: {WEBS[0]}" in broken.stderr
    assert shop.revisions() == everywhere(R5, R2, R2)
