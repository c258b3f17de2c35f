"""The Debian package on a host: installed, upgraded while everything runs, and purged."""

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from conductor import STATE_DIR, __version__
from tests.host.conftest import MACHINES_OWN, PORTS, SERVICES, found
from tests.support.clone import clone, commit
from tests.support.confinement import tried_from_inside
from tests.support.cookbook import UNIT, service
from tests.support.debs import NEXT, Debs, build, debs, repacked
from tests.support.host_image import Release
from tests.support.machine import Machine
from tests.support.site import Site, load_app
from tests.support.witness import Witness

INSTALLED = "/opt/conductor/deb"
WEB = "conductor-web"
SYNC = "conductor-sync"
UNTIL_ALLOWED = "until [ -e /srv/$REVISION ]; do sleep 0.1; done"
DEFINITIONS = {
    "version": 1,
    "services": {
        "shop": service(
            "shop",
            PORTS["shop"],
            volumes=["/srv/shop:/srv"],
            before_upgrade={"command": ["sh", "-c", UNTIL_ALLOWED]},
        ),
        "jobs": SERVICES["jobs"],
    },
}
SHELLS = {
    "bash": "/usr/share/bash-completion/completions/conductor",
    "zsh": "/usr/share/zsh/vendor-completions/_conductor",
    "fish": "/usr/share/fish/vendor_completions.d/conductor.fish",
}
MOST_EXPOSURE = 1.5
# supervise and the status page need systemd. An override is not possible: the lintian of Debian 13 does not have this tag.
NO_INIT_SCRIPT = "package-supports-alternative-init-but-no-init.d-script"
FIRST_DYNAMIC_USER = 61184  # systemd.exec(5)
SECRET_PATHS = (
    *("/etc/conductor/services.yml", "/etc/conductor", STATE_DIR, f"{STATE_DIR}/services/shop.json", "/etc/shadow"),
    *("/var/lib/docker", "/etc/nginx/nginx.conf", "/root", "/run/conductor/supervise.json", "/var/log", "/srv/shop"),
)
ASK = """\
import http.client, socket, sys
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect("/run/conductor-web.sock")
connection.request("GET", sys.argv[1])
print(connection.getresponse().read().decode())
"""
# The image of the test hosts leaves these directories out.
INCLUDED = ("--path-include=/usr/share/doc/conductor/*", "--path-include=/usr/share/man/*")
# Those that the tests make for a start, and what stays after a purge.
OPERATORS = ("/etc/conductor/services.yml", "/etc/nginx/conf.d/conductor.conf", "/srv/jobs/ran")
NGINX = ("/etc/nginx/conductor.d/shop.conf", "/etc/tmpfiles.d/conductor.conf")
OWN = (
    *("/opt/conductor", "/usr/bin/conductor", "/usr/local/bin/conductor", STATE_DIR, "/etc/cron.d/conductor-jobs"),
    *("/usr/share/doc/conductor", "/usr/share/man/man8/conductor.8.gz", "/usr/lib/tmpfiles.d/conductor.conf"),
    *(f"/usr/lib/systemd/system/{UNIT}.service", f"/etc/systemd/system/multi-user.target.wants/{UNIT}.service"),
    *(f"/usr/lib/systemd/system/{WEB}.{kind}" for kind in ("service", "socket")),
    *(f"/etc/systemd/system/sockets.target.wants/{WEB}.socket", "/run/conductor/public"),
    *SHELLS.values(),
)


@pytest.fixture(scope="module")
def building() -> Iterator["Future[Debs]"]:
    """The packages, which are built while the host boots."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(debs)


@pytest.fixture(scope="module")
def bare(building: "Future[Debs]", images: None, release: Release) -> Iterator[Machine]:
    with Machine("deb", release=release) as machine:
        load_app(machine)
        yield machine


@pytest.fixture(scope="module")
def module_site(bare: Machine, building: "Future[Debs]") -> Site:
    site = Site(bare, {"shop": PORTS["shop"]})
    for package in building.result():
        bare.copy(package, "/srv")
    return site


@pytest.mark.long
def test_lintian_finds_only_what_the_overrides_explain(building: "Future[Debs]") -> None:
    """That of Debian 12 or 13, whichever is here."""
    words = ["lintian", "--allow-root", "--display-info"]
    if subprocess.run(["lintian-explain-tags", NO_INIT_SCRIPT], capture_output=True, check=False).returncode == 0:
        words += ["--suppress-tags", NO_INIT_SCRIPT]
    words.append(str(building.result().first))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_package_from_its_installation_to_its_purge(site: Site, building: "Future[Debs]") -> None:
    """One test, as each part finds what the one before has left."""
    packages = building.result()
    the_first_installation_starts_nothing(site, packages)
    what_the_package_brings_is_in_its_place(site)
    an_operator_sets_the_host_up(site)
    the_status_page_shows_the_host_and_can_do_nothing(site)
    the_next_version_is_installed_while_everything_runs(site, packages)
    a_task_that_runs_when_the_package_is_removed_ends_as_ever(site)
    a_purge_leaves_the_containers_and_what_is_not_its_own(site)


def install(site: Site, name: str) -> str:
    return site.machine.run("dpkg", *INCLUDED, "--install", f"/srv/{name}", timeout=180).stderr


def version(site: Site) -> str:
    return site.conductor("--version").stdout.split()[1]


def place(package: str) -> str:
    return f"{INSTALLED}/{package.split('_')[1]}"


def main_pid(site: Site, unit: str = UNIT) -> str:
    return site.machine.run("systemctl", "show", "--value", "--property", "MainPID", unit).stdout.strip()


def runs_from(site: Site, pid: str) -> str:
    return site.machine.run("sh", "-c", f"tr '\\0' '\\n' </proc/{pid}/cmdline").stdout.splitlines()[0]


def the_first_installation_starts_nothing(site: Site, packages: Debs) -> None:
    assert install(site, packages.first.name) == ""
    assert version(site) == __version__
    assert site.machine.run("systemctl", "is-enabled", UNIT, check=False).stdout == "disabled\n"
    assert site.machine.run("systemctl", "is-active", UNIT, check=False).stdout == "inactive\n"
    assert not site.machine.exists(STATE_DIR)


def what_the_package_brings_is_in_its_place(site: Site) -> None:
    machine = site.machine
    assert machine.run("dpkg", "--verify", "conductor").stdout == ""
    assert machine.run("readlink", "/usr/local/bin/conductor").stdout == "/usr/bin/conductor\n"
    assert machine.run("systemd-analyze", "verify", f"{UNIT}.service").output == ""
    for shell, path in SHELLS.items():
        assert machine.read(path) == site.conductor("completion", shell).stdout
    page = machine.run("gunzip", "--to-stdout", "/usr/share/man/man8/conductor.8.gz").stdout
    assert page == site.conductor("help", "--man").stdout
    assert machine.run("stat", "--format", "%a", "/run/conductor/nginx").stdout == "755\n"


def an_operator_sets_the_host_up(site: Site) -> None:
    """As the manual says it."""
    machine = site.machine
    machine.put("/etc/conductor/services.yml", json.dumps(DEFINITIONS), 0o640)
    machine.put("/etc/nginx/conf.d/conductor.conf", "include /etc/nginx/conductor.d/*.conf;\n")
    site.conductor("nginx", "install")
    machine.run("systemctl", "enable", "--now", UNIT)
    machine.run("mkdir", "-p", "/srv/shop")
    machine.run("touch", "/srv/shop/r1")
    site.upgrade("r1", "shop", "jobs")
    machine.wait_for(lambda: found(machine) <= MACHINES_OWN, f"doctor to find only {MACHINES_OWN}")
    store = "consul://127.0.0.1:1/conductor/web1"  # nothing listens there
    machine.put(
        f"/etc/systemd/system/{SYNC}.service", site.conductor("config", "sync", "--from", store, "--print-unit").stdout
    )
    machine.run("systemctl", "enable", "--now", SYNC)


def the_status_page_shows_the_host_and_can_do_nothing(site: Site) -> None:
    machine = site.machine
    machine.run("systemctl", "enable", "--now", f"{WEB}.socket")
    assert machine.run("systemctl", "is-active", WEB, check=False).stdout == "inactive\n", (
        "it starts with the first request"
    )
    machine.wait_for(lambda: "services are healthy" in asked(site, "/"), "the published host")
    assert '"service":"shop"' in asked(site, "/status.json")
    assert "conductor_service_healthy" in asked(site, "/metrics")
    assert "Permission denied" in asked(site, "/", "--user", "nobody")
    assert machine.run("systemd-analyze", "verify", f"{WEB}.service", f"{WEB}.socket").output == ""
    said = machine.run("systemd-analyze", "security", "--no-pager", WEB).stdout
    assert float(said.partition(f"exposure level for {WEB}.service: ")[2].split()[0]) <= MOST_EXPOSURE, said
    tried = tried_from_inside(machine, *SECRET_PATHS)
    assert tried["published"] is None
    assert all(uid >= FIRST_DYNAMIC_USER for uid in tried["uids"])
    assert set(tried["capabilities"]) == {"0000000000000000"}
    assert tried["writes"] == []
    for name in ("connects", "sockets", "reads"):
        assert None not in tried[name].values(), tried[name]
    assert tried["processes"] == []
    assert tried["fork_root"]
    assert tried["mount"]
    assert "services are healthy" in asked(site, "/")


def asked(site: Site, path: str, *more: str) -> str:
    """What the status page answers on its socket, or why it cannot be asked."""
    words = ["setpriv", "--reuid=nobody", "--clear-groups", "--"] if "nobody" in more else []
    return site.machine.run(*words, "/usr/bin/python3", "-c", ASK, path, check=False).output


def the_next_version_is_installed_while_everything_runs(site: Site, packages: Debs) -> None:
    """dpkg runs when the minute changes. An upgrade, a task and a load began before it and end after it."""
    machine = site.machine
    old, new = place(packages.first.name), place(packages.later.name)
    before = main_pid(site)
    assert runs_from(site, before) == f"{old}/bin/python3"
    time.sleep((53 - time.time()) % 60)
    minute = int(time.time()) // 60 + 1
    task = machine.spawn(
        "conductor", "run", "--id", "shop", "--revision", "r2", "sh", "-c", f"{UNTIL_ALLOWED}; echo done; exit 7"
    )
    with Witness(machine.address, site.ports) as witness, site.load("shop", busy=10, idle=10) as load:
        upgrade = machine.spawn("conductor", "service", "upgrade", "--id", "shop", "--revision", "r2")
        time.sleep((58 - time.time()) % 60)
        install(site, packages.later.name)
        assert (version(site), runs_from(site, main_pid(site))) == (NEXT, f"{new}/bin/python3")
        assert runs_from(site, main_pid(site, SYNC)) == f"{new}/bin/python3"
        assert list(load.so_far()["revisions"]) == ["r1"]
        machine.run("touch", "/srv/shop/r2")
        told = upgrade.communicate(timeout=60)[1]
        result = load.stop()
    assert upgrade.returncode == 0, told
    assert result.lost == 0, result
    assert list(result.revisions) == ["r1", "r2"], result
    assert witness.wrong() == []
    assert main_pid(site) != before
    assert task.communicate(timeout=90)[0] == "done\n"
    assert task.returncode == 7
    site.settle({"shop": ("r2", 2)})
    running = ("docker", "ps", "--quiet", "--filter", "label=conductor.service=shop")
    killed = machine.run(*running).stdout.split()[0]
    machine.run("docker", "kill", killed)
    machine.wait_for(lambda: killed not in machine.run(*running).stdout, "the killed container to be gone")
    site.settle({"shop": ("r2", 2)})
    assert ran_in_each_minute(site, minute)
    assert machine.run("systemctl", "--failed", "--no-legend").stdout == ""


def ran_in_each_minute(site: Site, last: int) -> bool:
    """Whether the job of each minute since the first one, which must include this one, ran once."""
    lines = [line.split() for line in site.machine.read("/srv/jobs/ran").splitlines()]
    minutes = [int(moment) // 60 for _, moment, _ in lines]
    return last in minutes and minutes == list(range(minutes[0], minutes[-1] + 1))


def a_task_that_runs_when_the_package_is_removed_ends_as_ever(site: Site) -> None:
    until = UNTIL_ALLOWED.replace("$REVISION", "removed")
    task = site.machine.spawn("conductor", "run", "--id", "shop", "sh", "-c", f"{until}; echo done; exit 7")
    site.machine.wait_for(lambda: any(one.kind == "task" for one in site.containers("shop")), "the task")
    said = site.machine.run("dpkg", "--remove", "conductor").stderr
    assert "a process still uses it" in said
    assert site.machine.run("systemctl", "is-active", UNIT, SYNC, check=False).stdout == "inactive\ninactive\n"
    site.machine.run("touch", "/srv/shop/removed")
    assert task.communicate(timeout=60)[0] == "done\n"
    assert task.returncode == 7
    assert site.machine.exists(STATE_DIR)
    assert site.machine.exists("/etc/cron.d/conductor-jobs")


def a_purge_leaves_the_containers_and_what_is_not_its_own(site: Site) -> None:
    machine, before = site.machine, site.replicas()
    assert machine.run("dpkg", "--purge", "conductor").stderr == ""
    assert [path for path in OWN if machine.run("test", "-e", path, "-o", "-L", path, check=False).code == 0] == []
    assert [path for path in (*OPERATORS, *NGINX) if not machine.exists(path)] == []
    machine.run("systemctl", "restart", "nginx")
    assert site.replicas() == before
    assert site.serves("shop", "r2")
    assert machine.run("systemctl", "--failed", "--no-legend").stdout == ""


@pytest.mark.long
def test_ten_installations_during_upgrades_under_load(site: Site, building: "Future[Debs]", tmp_path: Path) -> None:
    """After a purge, as a first installation. A task of the first version lasts as long as all of it."""
    machine, packages = site.machine, building.result()
    machine.run("sh", "-c", "docker ps --all --quiet --filter label=conductor.instance | xargs -r docker rm --force")
    machine.run("mkdir", "-p", "/srv/shop")
    machine.run("sh", "-c", "rm -f /srv/jobs/ran /srv/shop/over-r1; touch /srv/shop/r1 /srv/shop/r2 /srv/shop/r3")
    between = repacked(packages.first, tmp_path, "98.0.0")
    machine.copy(between, "/srv")
    install(site, packages.first.name)
    an_operator_sets_the_host_up(site)
    task = machine.spawn(
        "conductor", "run", "--id", "shop", "sh", "-c", f"{UNTIL_ALLOWED.replace('/srv/', '/srv/over-')}"
    )
    machine.wait_for(lambda: any(one.kind == "task" for one in site.containers("shop")), "the task")
    began = int(time.time()) // 60 + 1
    with Witness(machine.address, site.ports) as witness, site.load("shop", busy=10, idle=10) as load:
        for number in range(10):
            revision = f"r{number % 2 + 2}"
            upgrade = machine.spawn("conductor", "service", "upgrade", "--id", "shop", "--revision", revision)
            time.sleep(number % 5 / 2)
            said = install(site, (between if number % 2 else packages.later).name)
            assert ("a process still uses it" in said) == (number > 0), said
            told = upgrade.communicate(timeout=120)[1]
            assert upgrade.returncode == 0, told
        result = load.stop()
    assert result.lost == 0, result
    assert witness.wrong() == []
    machine.wait_for(lambda: site.is_served({"shop": ("r3", 2)}), "two replicas beside the task")
    assert task.poll() is None
    machine.run("touch", "/srv/shop/over-r1")
    task.communicate(timeout=60)
    assert task.returncode == 0
    assert place(packages.first.name) in installed(site)
    assert "a process still uses it" not in install(site, packages.later.name)
    assert set(installed(site)) == {place(between.name), place(packages.later.name)}
    time.sleep(60 - time.time() % 60 + 10)
    assert ran_in_each_minute(site, began)
    assert ran_in_each_minute(site, int(time.time()) // 60)
    assert machine.run("systemctl", "--failed", "--no-legend").stdout == ""


def installed(site: Site) -> list[str]:
    """The directories of the installed versions."""
    return site.machine.run("sh", "-c", f"ls -d {INSTALLED}/*+*").stdout.split()


@pytest.mark.long
def test_the_package_of_a_later_commit_is_a_later_version(building: "Future[Debs]", tmp_path: Path) -> None:
    repository = clone(tmp_path / "conductor")
    time.sleep(1)
    later = commit(repository, "later", "--allow-empty")
    package = build(repository, tmp_path)
    first = building.result().first
    versions = [path.name.split("_")[1] for path in (first, package)]
    assert package.name.split("_")[1].endswith(f".{later[:12]}")
    subprocess.run(["dpkg", "--compare-versions", versions[0], "lt", versions[1]], check=True)
