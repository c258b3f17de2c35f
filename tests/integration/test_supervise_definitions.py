"""`conductor supervise` with a definitions file that changed without a deploy: `supervise.drift` and `supervise.undefined`."""

import json

from tests.support.aftermath import nothing_left_behind
from tests.support.supervised import Supervised

APPLY = {"supervise": {"drift": "apply"}}
STOP = {"supervise": {"undefined": "stop"}}


def environment(sup: Supervised) -> set[str]:
    """Return the values of LEVEL in the running replicas."""
    given = [sup.host.daemon.api.inspect_container(c.id)["Config"]["Env"] for c in sup.running()]
    return {word for words in given for word in words if word.startswith("LEVEL=")}


def notes(sup: Supervised) -> list[str]:
    """Return the kinds of the notes on `web` in `service status`."""
    (row,) = json.loads(sup.host.conductor("service", "status", "--id", "web", "--json", check=True).stdout)["services"]
    return [note["kind"] for note in row["notes"]]


def test_a_changed_definition_waits_for_a_deploy_unless_drift_is_apply(sup: Supervised) -> None:
    host, changed = sup.host, sup.service(env={"LEVEL": "2"})
    spawned = sup.start()
    host.define({"web": changed})
    sup.holds_for(2.0, lambda: sup.events.of("start") == [])
    assert "drifted" in notes(sup)
    spawned.end()
    host.define({"web": changed}, host_extra=APPLY)
    with host.load(busy=4, idle=4) as load:
        sup.start()
        host.wait_for(lambda: len(sup.events.of("start")) == 2, f"two new replicas\n{sup.log}")
        sup.wait_until_right(2)
        counted = load.stop()
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"
    assert environment(sup) == {"LEVEL=2"}
    assert "drifted" not in notes(sup)
    line = host.history()[-1]
    assert (line["action"], line["command"], line["to"], line["outcome"]) == ("restart", "supervise", "r1", "done")
    nothing_left_behind(host, "r1", count=2)


def test_a_changed_definition_that_does_not_run_changes_nothing(sup: Supervised) -> None:
    """It is retried, and a replica that is killed meanwhile is replaced by one of the old definition."""
    host = sup.host
    broken = sup.service(command=["false"])
    host.define({"web": broken}, host_extra=APPLY)
    before = {c.id for c in sup.running()}
    sup.start()
    host.wait_for(lambda: host.history()[-1]["action"] == "restart", f"the restart to fail\n{sup.log}")
    line = host.history()[-1]
    assert (line["command"], line["outcome"]) == ("supervise", "rolled-back")
    assert {c.id for c in sup.running()} == before
    host.wait_for(lambda: sup.service_status().get("until"), "the time of the retry")
    assert sup.condition() == "drifted"
    victim = sup.running()[0]
    host.kill(victim.id)
    host.wait_for(lambda: len({c.id for c in sup.running()} - before) == 1, f"a replacement\n{sup.log}", 20)
    host.define({"web": sup.service()}, host_extra=APPLY)
    sup.wait_until_right(2)
    nothing_left_behind(host, "r1", count=2)


def test_a_service_that_is_no_longer_defined_stays_unless_undefined_is_stop(sup: Supervised) -> None:
    host = sup.host
    spawned = sup.start()
    host.define({"other": sup.service()})
    sup.holds_for(2.0, lambda: len(sup.running()) == 2)
    spawned.end()
    host.define({"other": sup.service()}, host_extra=STOP)
    sup.start()
    host.wait_for(lambda: host.containers("web") == [], f"web to go\n{sup.log}")
    host.wait_for(lambda: host.journal() is None, "the end of the repair")
    line = host.history()[-1]
    assert (line["action"], line["command"], line["outcome"], line["count"]) == ("repair", "supervise", "done", 0)
    assert host.get().status == 503
    host.define({"web": sup.service()}, host_extra=STOP)
    sup.wait_until_right(2)
    assert host.get().revision == "r1"
