"""A wrapped crontab on a host's own cron, across upgrades that straddle the minute."""

import time

import pytest

from tests.support.site import Site

pytestmark = pytest.mark.long
AROUND = (59.0, 59.5, 59.9, 0.05)  # seconds of the minute at which an upgrade begins


def test_no_job_runs_twice_or_not_at_all_across_upgrades(site: Site) -> None:
    """Each minute has one job, of the revision before or after; every minute after a change has the new one."""
    site.upgrade("r1", "jobs")
    site.machine.run("mkdir", "-p", "/srv/jobs")
    began = int(time.time()) // 60 + 1
    live: dict[int, set[str]] = {}
    for number, second in enumerate(AROUND):
        sleep_until_second(30.0)
        old, new = f"r{number + 1}", f"r{number + 2}"
        minute = int(time.time()) // 60 + 1
        sleep_until_second(second)
        site.upgrade(new, "jobs")
        assert f"--revision {new}" in site.machine.read("/etc/cron.d/conductor-jobs")
        live[minute] = {old, new}
        live[minute + 1] = {new}
    sleep_until_second(20.0)
    time.sleep(60)
    last = int(time.time()) // 60
    ran: dict[int, list[str]] = {}
    for line in site.machine.read("/srv/jobs/ran").splitlines():
        _, moment, revision = line.split()
        ran.setdefault(int(moment) // 60, []).append(revision)
    assert [len(ran.get(minute, [])) for minute in range(began, last + 1)] == [1] * (last + 1 - began), ran
    assert [m for m, revisions in live.items() if m in ran and not set(ran[m]) <= revisions] == [], (ran, live)


def sleep_until_second(second: float) -> None:
    """Of this minute, or of the next one."""
    time.sleep((second - time.time()) % 60)
