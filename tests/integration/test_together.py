"""Concurrent commands: five processes for five services, and five processes for one service."""

import re
from collections import Counter
from contextlib import ExitStack

import pytest

from tests.support.aftermath import QUICK, nothing_left_behind
from tests.support.host import TestHost, merged
from tests.support.images import REVISIONS

pytestmark = pytest.mark.both_ways

SERVICES = ("ant", "bee", "cat", "dog", "elk")
PATIENT = merged(QUICK, {"health": {"start_timeout": "30s"}, "nginx": {"drain": "20s"}})


def test_five_services_at_once(host: TestHost) -> None:
    host.define(dict.fromkeys(SERVICES, PATIENT))
    for service in SERVICES:
        host.upgrade("r1", service, check=True)
    with ExitStack() as stack:
        loads = [stack.enter_context(host.load(service, busy=2, idle=8)) for service in SERVICES]
        for revision in ("r2", "r3"):
            started = [
                host.spawn("service", "upgrade", "--id", service, "--revision", revision) for service in SERVICES
            ]
            for upgrade in started:
                result = upgrade.wait(60).expect(0)
                assert "warning" not in result.stderr, str(result)
        results = [load.stop() for load in loads]
    for service, counted in zip(SERVICES, results, strict=True):
        print(service, counted)
        assert counted.lost == 0, f"{service}: {counted}\n{counted.told[:10]}"
        assert set(counted.revisions) == {"r1", "r2", "r3"}, f"{service}: {counted}"
        nothing_left_behind(host, "r3", service)
    addresses = [c.address for c in host.containers()]
    assert len(set(addresses)) == len(SERVICES)


def test_five_for_the_same_service_of_which_four_are_refused(host: TestHost) -> None:
    host.define({"web": merged(PATIENT, {"env": {"BOOT": "1.5"}})})
    host.upgrade("r1", check=True)
    revisions = REVISIONS[1:6]
    started = [host.spawn("service", "upgrade", "--id", "web", "--revision", r) for r in revisions]
    results = {upgrade.pid: upgrade.wait(60) for upgrade in started}
    assert Counter(r.code for r in results.values()) == {0: 1, 5: 4}, "\n".join(map(str, results.values()))
    ((winner, won),) = [(pid, r) for pid, r in results.items() if r.code == 0]
    revision = won.words[-1]
    named = rf"error: cannot lock web: process {winner} \({' '.join(won.words)}\) has held it since 20[\d-]+T[\d:.]+Z\n"
    for result in results.values():
        assert result.code == 0 or re.search(named, result.stderr), f"not {named}: {result}"
        assert result.code == 0 or "wait for it with --wait" in result.stderr
    assert [(line["to"], line["outcome"]) for line in host.history()] == [("r1", "done"), (revision, "done")]
    nothing_left_behind(host, revision)


def test_five_for_the_same_service_that_wait(host: TestHost) -> None:
    """They run one after the other. An upgrade to the live revision has nothing to do."""
    host.define({"web": PATIENT})
    host.upgrade("r1", check=True)
    revisions = ("r2", "r3", "r4", "r4", "r4")
    with host.load(busy=2, idle=8) as load:
        started = [host.spawn("service", "upgrade", "--id", "web", "--revision", r, "--wait", "2m") for r in revisions]
        results = [upgrade.wait(120).expect(0) for upgrade in started]
        counted = load.stop()
    print(counted)
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"
    done = [line for line in host.history() if line["outcome"] == "done"]
    idle = [r for r in results if "nothing to do" in r.stderr]
    assert len(done) == len(host.history())
    assert len(done) + len(idle) == 1 + len(revisions)
    assert [line["from"] for line in done[1:]] == [line["to"] for line in done[:-1]]
    nothing_left_behind(host, done[-1]["to"])
