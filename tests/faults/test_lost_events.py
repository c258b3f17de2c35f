"""`supervise` repairs a service also when Docker's events do not arrive, or end in the middle."""

from typing import Literal

import pytest

from tests.support.aftermath import QUICK, nothing_left_behind
from tests.support.daemon_between import DaemonBetween
from tests.support.host import TestHost, merged

REPAIRED_SECONDS = (
    180.0  # on a busy machine; a pass without an event comes after 5 s, and a second repair waits for 5 s
)


@pytest.mark.parametrize("events", ["drop", "cut"])
def test_a_repair_without_events(host: TestHost, events: Literal["drop", "cut"]) -> None:
    with DaemonBetween(host.directory / "between.sock") as between:
        host.define({"web": merged(QUICK, {"count": 2})}, host_extra={"docker": between.url})
        host.upgrade("r1", check=True)
        between.events = events
        supervise = host.spawn("supervise")
        host.wait_for(lambda: any("/events?" in call for call in between.calls), "the request for events")
        for _ in range(2):
            host.daemon.api.remove_container(host.containers("web")[0].id, force=True)
            host.wait_for(lambda: host.revisions() == ["r1", "r1"], "the repair", REPAIRED_SECONDS)
        host.wait_for(lambda: host.journal() is None, "the end of the repair", REPAIRED_SECONDS)
        assert supervise.running()
        assert "Traceback" not in supervise.stderr
        supervise.end()
        nothing_left_behind(host, "r1", count=2, unfinished=True)
