"""`supervise` under systemd, and what systemd does to the others: Docker and nginx come and go beneath it."""

import time

import pytest

from tests.host.conftest import COUNTS
from tests.support.site import Site
from tests.support.witness import Witness

pytestmark = pytest.mark.long
UNIT = "conductor-supervise"
ALL = {"shop": ("r1", 2), "api": ("r1", 1), "worker": ("r1", 1)}
BACKED_OFF_SECONDS = 80.0  # the tests before have made supervise careful, which lasts until there is a minute of peace
WATCHDOG = "[Service]\nWatchdogSec=2\nTimeoutAbortSec=2\nRestartSec=1\n"
# libfaketime 0.9.10 breaks clock_nanosleep on the monotonic clock, which is Python's time.sleep, so that sleeps otherwise.
# The wall clock only: as after a correction by ntp, or a resume. Written to a file, so that it can jump under a running process.
FAKETIME = """\
[Service]
Environment=LD_PRELOAD=/usr/lib/{triplet}/faketime/libfaketime.so.1
Environment=FAKETIME_TIMESTAMP_FILE=/etc/faketimerc FAKETIME_CACHE_DURATION=1 DONT_FAKE_MONOTONIC=1
ExecStart=
ExecStart={python} -c "import sys, threading, time; \\
  time.sleep = lambda seconds: threading.Event().wait(seconds) and None; \\
  sys.argv = ['conductor', 'supervise']; from conductor.__main__ import main; main()"
"""


@pytest.fixture(autouse=True)
def deployed(site: Site) -> None:
    """Everything runs r1."""
    if not site.is_settled({"worker": ("r1", 1)}):
        site.upgrade("r1", "worker")
    site.deployed("r1", COUNTS)


def show(site: Site, name: str) -> str:
    """A property of the unit."""
    return site.machine.run("systemctl", "show", "--value", "--property", name, UNIT).stdout.strip()


def drop_in(site: Site, text: str | None) -> None:
    """Add to the unit, or take that away, and start it anew."""
    path = f"/etc/systemd/system/{UNIT}.service.d/test.conf"
    if text is None:
        site.machine.run("rm", path)
    else:
        site.machine.put(path, text)
    site.machine.run("systemctl", "daemon-reload")
    site.machine.run("systemctl", "restart", UNIT)


def test_docker_is_restarted(site: Site) -> None:
    """As its package's upgrade does; supervise is the same process afterwards."""
    before = show(site, "MainPID")
    with Witness(site.machine.address, site.ports) as witness:
        site.machine.run("systemctl", "restart", "docker")
        site.settle(ALL)
    assert witness.wrong() == []
    assert (show(site, "ActiveState"), show(site, "MainPID")) == ("active", before)


def test_docker_is_stopped_and_started(site: Site) -> None:
    before = show(site, "MainPID")
    with Witness(site.machine.address, site.ports) as witness:
        site.machine.run("systemctl", "stop", "docker.socket", "docker")
        site.machine.wait_for(
            lambda: "the last pass failed" in show(site, "StatusText"), "supervise to say that it waits"
        )
        assert show(site, "ActiveState") == "active"
        site.machine.run("systemctl", "start", "docker")
        site.settle(ALL)
    assert witness.wrong() == []
    assert show(site, "MainPID") == before


def test_docker_is_killed(site: Site) -> None:
    """systemd starts it again; its containers die with it or are found."""
    site.machine.run("systemctl", "kill", "--signal", "KILL", "docker")
    site.machine.wait_for(lambda: site.machine.run("docker", "version", check=False).code == 0, "Docker", 30)
    site.settle(ALL)
    assert show(site, "ActiveState") == "active"


def test_a_hung_supervise_is_restarted_by_the_watchdog(site: Site) -> None:
    try:
        drop_in(site, WATCHDOG)
        before = show(site, "MainPID")
        site.machine.run("kill", "-STOP", before)
        site.machine.wait_for(lambda: show(site, "MainPID") not in {before, "0"}, "another process", 30)
        assert "Watchdog timeout" in site.machine.run("journalctl", "-u", UNIT, "--no-pager").stdout
    finally:
        drop_in(site, None)
    site.machine.run("sh", "-c", "docker kill $(docker ps -q --filter label=conductor.service=api)")
    site.settle(ALL, BACKED_OFF_SECONDS)


def test_reload_reads_the_definitions_again(site: Site) -> None:
    """Also when the file looks the same: changed in place, as long as before, with its old time."""
    config = "/etc/conductor/services.yml"
    before = site.machine.read(config)
    changed = before.replace('"count": 2', '"count": 3', 1)
    assert changed != before
    overwrite = 'cp -p "$1" /tmp/former; cat >"$1"; touch -r /tmp/former "$1"'
    try:
        site.machine.run("sh", "-c", overwrite, "overwrite", config, input=changed)
        time.sleep(3)
        site.settle(ALL)  # nobody has noticed
        site.machine.run("systemctl", "reload", UNIT)
        site.settle({**ALL, "shop": ("r1", 3)}, BACKED_OFF_SECONDS)
    finally:
        site.machine.run("sh", "-c", overwrite, "overwrite", config, input=before)
        site.machine.run("systemctl", "reload", UNIT)
    site.settle(ALL, BACKED_OFF_SECONDS)


def test_a_broken_file_keeps_the_last_good_one(site: Site) -> None:
    config = "/etc/conductor/services.yml"
    before = site.machine.read(config)
    pid = show(site, "MainPID")
    try:
        site.machine.put(config, before.replace('"count": 2', '"count": "two"', 1), 0o640)
        site.machine.run("systemctl", "reload", UNIT)
        said = lambda: site.machine.run("journalctl", "-u", UNIT, "-n", "5", "--no-pager").stdout  # noqa: E731
        site.machine.wait_for(lambda: "the last valid definitions stay in effect" in said(), "the problem to be told")
        site.machine.run("sh", "-c", "docker kill $(docker ps -q --filter label=conductor.service=shop)")
        site.settle(ALL, BACKED_OFF_SECONDS)
    finally:
        site.machine.put(config, before, 0o640)
    assert show(site, "MainPID") == pid


def test_stopping_it_stops_nothing_else(site: Site) -> None:
    before = site.replicas()
    assert site.machine.run("systemctl", "stop", UNIT).seconds < 3
    assert site.replicas() == before
    site.machine.run("systemctl", "start", UNIT)


def test_nginx_is_restarted_by_a_colleague_during_an_upgrade(site: Site) -> None:
    """Whatever became of the upgrade, it says so, and what is committed serves."""
    with Witness(site.machine.address, site.ports) as witness:
        for number, delay in enumerate((0.5, 1.0, 1.5, 2.0)):
            revision = f"r{number % 2 + 2}"
            upgrade = site.machine.spawn("conductor", "service", "upgrade", "--id", "shop", "--revision", revision)
            time.sleep(delay)
            site.machine.run("systemctl", "restart", "nginx")
            told = upgrade.communicate(timeout=60)[1]
            live = site.wanted("shop")["release"]["revision"]
            assert live == revision if upgrade.returncode == 0 else "error: cannot" in told, told
            assert "Traceback" not in told
            site.settle({**ALL, "shop": (live, 2)})
    assert witness.wrong() == []


def test_nginx_is_reloaded_by_a_colleague_during_an_upgrade(site: Site) -> None:
    """New connections never notice; those that idle are closed by a reload without an announce, which is not ours to keep."""
    with Witness(site.machine.address, site.ports) as witness:
        upgrade = site.machine.spawn("conductor", "service", "upgrade", "--id", "shop", "--revision", "r2")
        while upgrade.poll() is None:
            site.machine.run("systemctl", "reload", "nginx")
            time.sleep(0.3)
        told = upgrade.communicate()[1]
    assert upgrade.returncode == 0, told
    site.settle({**ALL, "shop": ("r2", 2)})
    assert witness.wrong() == []
    assert witness.failures("shop") == []


def test_a_killed_nginx_can_be_started_again(site: Site) -> None:
    """The sockets that it left are in nobody's way."""
    site.machine.run("systemctl", "kill", "--signal", "KILL", "nginx")
    site.machine.run("systemctl", "start", "nginx")
    site.settle(ALL)


def test_the_wall_clock_jumps(site: Site) -> None:
    """For supervise alone, by libfaketime: an hour ahead, and back by two. It neither acts nor stops acting for it."""
    triplet = site.machine.run("sh", "-c", "ls -d /usr/lib/*/faketime").stdout.split("/")[3]
    python = site.machine.run("sh", "-c", "dirname $(readlink /usr/local/bin/conductor)").stdout.strip() + "/python3"
    try:
        site.machine.put("/etc/faketimerc", "+0")
        drop_in(site, FAKETIME.format(triplet=triplet, python=python))
        pid = show(site, "MainPID")
        for jump in ("+1h", "-1h"):
            before = site.replicas()
            site.machine.put("/etc/faketimerc", jump)
            time.sleep(7)  # more than one look
            assert site.replicas() == before
            said = site.machine.run("journalctl", "-u", UNIT, "-n", "3", "--no-pager").stdout
            with site.load("api", busy=2, idle=2):
                site.machine.run(
                    "sh", "-c", "docker kill $(docker ps -q --filter label=conductor.service=shop | head -1)"
                )
                assert site.settle(ALL, BACKED_OFF_SECONDS), said
        assert show(site, "MainPID") == pid  # the watchdog was fed
    finally:
        drop_in(site, None)
