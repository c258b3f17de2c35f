"""A day of one host, in short: what the cookbook put there, deploys, a job, a reboot; and what all of it wrote."""

import re
import time

import pytest

from tests.host.conftest import COUNTS, PORTS, SERVICES
from tests.support.cookbook import converge
from tests.support.footprint import changes, footprint
from tests.support.host_image import RELEASES, Release
from tests.support.machine import Machine
from tests.support.site import Site, There
from tests.support.witness import Witness

# What the cookbook's README says that it writes, and the environment of the wheel.
COOKBOOK = """
/opt/conductor /usr/local/bin/conductor
/etc/conductor /etc/conductor/services.yml /etc/conductor/secrets /etc/conductor/secrets/shop
/etc/conductor/secrets/shop/PASSWORD
/etc/nginx/conf.d/conductor.conf /etc/tmpfiles.d/conductor.conf /etc/sudoers.d/conductor
/etc/systemd/system/nginx.service.d /etc/systemd/system/nginx.service.d/conductor.conf
/etc/systemd/system/conductor-supervise.service /etc/systemd/system/conductor-supervise.service.d
/etc/systemd/system/conductor-supervise.service.d/conductor.conf
/etc/systemd/system/multi-user.target.wants/conductor-supervise.service
"""
# DESIGN section 2: regular expressions of whole paths.
DESIGN = r"""
/var/lib/conductor(/(history(\.[0-9]{6})?\.jsonl|(addresses|traffic|host|gc|reported)\.json|digest\.key))?
/var/lib/conductor/(services|journal|images)(/(shop|api|worker|jobs)\.json)?
/var/lib/conductor/logs(/(shop|api|worker|jobs)(/[^/]+\.log)?)?
/var/lib/conductor/jobs(/jobs(/[0-9a-f]+\.json)?)?
/run/conductor(/supervise\.json|/locks(/[a-z0-9.]+\.lock)?|/public(/snapshot(/host\.json)?)?)?
/run/conductor/nginx(/announce|/unavailable\.sock|/private(/drafts(/.*)?|/status\.sock)?)?
/etc/nginx/conductor\.d(/(_conductor|shop|api)\.conf|/(location|server)\.inc)?
/etc/nginx/modules-enabled/90-conductor\.conf
/etc/cron\.d/conductor-jobs
"""
# What Docker, systemd, nginx, cron, mail and the app's volume have; then the machine's container, and who plays Chef on it.
THEIRS = r"""
/opt/conductor/[0-9a-f]{12}(/.*)?
/var/lib/containerd/.* /run/(docker|containerd)/.* /run/docker\.(pid|sock)
/run/systemd/.* /run/(dbus/system_bus_socket|ssh-unix-local/socket|initctl|utmp|shm) /var/log/(wtmp|journal/.*)
(/var)?/tmp/systemd-private-[0-9a-f]{32}-.*
/run/(nginx|sshd|crond)\.pid /run/crond\.reboot /var/log/nginx/(access|error)\.log
/var/mail/root /var/spool/dma/.* /srv/jobs(/ran)?
/etc/(hostname|hosts|resolv\.conf)
/var/chef(/.*)? /home/deploy(/.*)? /etc/(passwd|group|shadow|gshadow|subuid|subgid)-?
"""

JOB = "conductor run --id jobs --revision r1"


@pytest.fixture(scope="module", params=RELEASES, ids=lambda release: release.name)
def release(request: pytest.FixtureRequest) -> Release:
    """All of them, also by default."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def first_look(bare: Machine) -> set[str]:
    """Of a host with the app's images, Docker, nginx and cron."""
    return footprint(bare)


@pytest.fixture(scope="module")
def module_site(first_look: set[str], bare: Machine) -> Site:
    """After the first look."""
    converge(bare, SERVICES)
    return Site(bare, PORTS)


def test_a_day(first_look: set[str], site: Site) -> None:
    """One test, as each hour finds what the one before has left, and tests may be dealt out to several processes."""
    before_the_first_deploy(site)
    first_deploy(site)
    upgrade_and_rollback_under_load(site)
    a_broken_deploy_says_why_and_changes_nothing(site)
    one_off_tasks_and_a_console(site)
    written = changes(first_look, footprint(site.machine))  # /run and /tmp do not outlive a reboot
    reboot_in_the_middle_of_an_upgrade(site)
    a_paused_service_is_left_alone_and_says_so(site)
    a_wrapped_job_has_fired_on_time_and_told_by_mail(site)
    nothing_is_written_elsewhere(written | changes(first_look, footprint(site.machine)))


def before_the_first_deploy(site: Site) -> None:
    """Nothing failed, the unit is clean and confined, and nginx has an answer for what never ran."""
    assert site.machine.run("systemctl", "--failed", "--no-legend").stdout == ""
    verified = site.machine.run("systemd-analyze", "verify", "conductor-supervise.service")
    assert (verified.stdout, verified.stderr) == ("", "")
    said = site.machine.run("systemd-analyze", "security", "--no-pager", "conductor-supervise").stdout
    exposure = float(said.partition("exposure level for conductor-supervise.service: ")[2].split()[0])
    assert exposure <= 3.0, said
    assert [site.ask(service).status for service in COUNTS] == [503, 503]
    secret = "/etc/conductor/secrets/shop/PASSWORD"
    assert (
        site.machine.run("stat", "--format", "%a %U", secret, "/etc/conductor/services.yml").stdout
        == "600 root\n640 root\n"
    )


def first_deploy(site: Site) -> None:
    site.upgrade("r1", "worker", "jobs")
    site.deployed("r1", COUNTS)
    assert site.machine.exists("/etc/cron.d/conductor-jobs")


def upgrade_and_rollback_under_load(site: Site) -> None:
    """From outside, on the host's address; one call moves both services."""
    site.deployed("r1", COUNTS)
    with Witness(site.machine.address, site.ports) as witness, site.load("shop", busy=20, idle=20) as load:
        site.upgrade("r2", *COUNTS)
        site.settle({"shop": ("r2", 2), "api": ("r2", 1)})
        site.conductor("service", "rollback", "--id", "shop")
        site.settle({"shop": ("r1", 2), "api": ("r2", 1)})
        result = load.stop()
    assert result.lost == 0, result
    assert list(result.revisions) == ["r1", "r2"], result
    assert witness.wrong() == []
    assert [witness.failures(service) for service in COUNTS] == [[], []]
    seen = witness.revisions("api")  # an old worker accepts for a moment after the reload: they may alternate
    assert (set(seen), seen[-1]) == ({"r1", "r2"}, "r2")


def a_broken_deploy_says_why_and_changes_nothing(site: Site) -> None:
    site.conductor("service", "upgrade", "--id", "api", "--revision", "r1")
    before = site.replicas()
    with site.load("shop", busy=10, idle=10) as load:
        failed = site.upgrade("r9", "api", "shop", check=False)  # r9 of api exits as it starts
        result = load.stop()
    assert failed.code == 1, failed
    assert "the configuration is missing its moon phase" in failed.stderr
    assert "api is still running r1 with 1 replica" in failed.stderr
    assert result.lost == 0, result
    assert site.replicas() == before


def one_off_tasks_and_a_console(site: Site) -> None:
    site.deployed("r1", COUNTS)
    done = site.conductor("run", "--id", "shop", "sh", "-c", "echo $SERVICE $REVISION $PASSWORD; exit 7", check=False)
    assert (done.code, done.stdout) == (7, "shop r1 hunter2 #1\n")
    typed = "echo in the $SERVICE console\nexit 5\n"
    console = site.machine.run(
        "script",
        "--quiet",
        "--return",
        "--command",
        "conductor console --id shop",
        "/dev/null",
        input=typed,
        check=False,
    )
    assert "in the shop console" in console.stdout
    assert console.code == 5, console
    assert [one for one in site.containers("shop") if one.kind != "service"] == []


def reboot_in_the_middle_of_an_upgrade(site: Site) -> None:
    """An orderly one; `test_reboots.py` has the other moments."""
    site.deployed("r1", COUNTS)
    with Witness(site.machine.address, site.ports) as witness:
        upgrade = site.machine.spawn(
            "conductor", "service", "upgrade", "--id", "shop", "--id", "api", "--revision", "r2"
        )
        time.sleep(1.0)
        site.machine.reboot()
        upgrade.communicate(timeout=30)
        revision = site.wanted("shop")["release"]["revision"]
        site.settle({service: (revision, count) for service, count in COUNTS.items()})
        site.settle({"worker": ("r1", 1)})
    assert witness.wrong() == []
    assert {one.revision for one in witness.seen if one.revision} <= {"r1", "r2"}
    assert site.machine.run("systemctl", "--failed", "--no-legend").stdout == ""


def a_paused_service_is_left_alone_and_says_so(site: Site) -> None:
    site.deployed("r1", COUNTS)
    site.conductor("supervise", "pause", "--id", "api", "--reason", "looking into it")
    site.machine.run("sh", "-c", "docker kill $(docker ps -q --filter label=conductor.service=api)")
    time.sleep(2)
    assert There("api", "r1", "service", "running") not in site.containers("api")
    assert "looking into it" in site.conductor("service", "status", check=False).stdout
    site.conductor("supervise", "resume", "--id", "api")
    site.settle({"api": ("r1", 1)})


def a_wrapped_job_has_fired_on_time_and_told_by_mail(site: Site) -> None:
    """Once a minute since the first deploy, which was a minute ago by now, or soon will be."""
    machine = site.machine
    machine.wait_for(lambda: machine.exists("/srv/jobs/ran"), "the job to fire", 65)
    machine.wait_for(
        lambda: "job of r1" in machine.run("sh", "-c", "cat /var/mail/root", check=False).stdout, "mail", 20
    )
    ran = [line.split() for line in machine.read("/srv/jobs/ran").splitlines()]
    assert {revision for _, _, revision in ran} == {"r1"}
    logged = machine.run("journalctl", "-t", "CRON", "--no-pager", "--output", "short-unix").stdout
    fired = [float(line.split()[0]) for line in logged.splitlines() if "CMD" in line and JOB in line]
    assert fired != []
    assert [moment % 60 for moment in fired if moment % 60 > 5] == []
    assert all(any(-1 < int(moment) - at < 60 for at in fired) for _, moment, _ in ran), (ran, fired)
    machine.wait_for(  # while a job is running, its output is not shown
        lambda: "job of r1" in site.conductor("cron", "list", "--id", "jobs").stdout, "the output of a job", 20
    )


def nothing_is_written_elsewhere(written: set[str]) -> None:
    """Of all that this module did."""
    assert [path for path in COOKBOOK.split() if path not in written] == []
    expected = re.compile("|".join([*map(re.escape, COOKBOOK.split()), *DESIGN.split(), *THEIRS.split()]))
    named = {re.sub(r"/\.([^/]+)\.new$", r"/\1", path) for path in written}  # what is being written at that moment
    assert [path for path in sorted(named) if not expected.fullmatch(path)] == []
