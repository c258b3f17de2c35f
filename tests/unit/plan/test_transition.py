"""The transition that each command makes of a service: by cases, and as properties over any state."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.definitions.model import Cron, Definition, Health, Hook, Nginx, Service
from conductor.errors import ConductorError
from conductor.plan.journal import ChangeAction
from conductor.plan.release import Hold, Wanted
from conductor.plan.replica import Replica
from conductor.plan.steps import steps
from conductor.plan.transition import (
    Transition,
    drifted,
    new_release,
    refuse_stopped,
    repair,
    replace,
    resize,
    rollback_target,
    wanted_count,
)

WEB = Definition(
    id="web",
    service=Service(image="app", port=80, count=2, health=Health(path="/up"), nginx=Nginx()),
    written={"nginx": {}},
    digest="d",
)
CLOCK = Definition(
    id="clock",
    service=Service(image="app", count=1, health=Health(none=True), order="stop-first"),
    written={"order": "stop-first"},
    digest="d",
)
JOBS = Definition(
    id="jobs",
    service=Service(image="app", count=0, cron=Cron(generate=("bin/cron",))),
    written={"cron": {}},
    digest="d",
)
HOLD = Hold(reason="holiday", who="ada", since="2026-01-01T00:00:00Z")


def live(definition: Definition, **fields: Any) -> Wanted:
    """Return the wanted state of a service whose release `c1` is live."""
    first = new_release(definition, "r1", "sha256:1", "c1")
    return msgspec.structs.replace(Wanted(service=definition.id, release=first, change="c1"), **fields)


def replica(number: int, release: str = "c1", *, state: str = "running") -> Replica:
    return Replica(
        id=f"i{number}", name=f"web-{number}", service="web", revision="r1", release=release, change=release,
        address=f"10.0.0.{number}:80", state=state,
    )  # fmt: skip


TWO = (replica(2), replica(3))


def upgrade(
    wanted: Wanted, definition: Definition, replicas: Sequence[Replica], hook: Hook | None = None
) -> Transition:
    new = new_release(definition, "r2", "sha256:2", "c2")
    return replace("upgrade", wanted, definition, new, replicas, keep_releases=2, hook=hook)


def scaled(count: int | None, replicas: Sequence[Replica] = TWO) -> Transition:
    wanted = live(WEB)
    return resize("scale", wanted, msgspec.structs.replace(wanted, scale=count, change="c2"), WEB, replicas)


def stopped(replicas: Sequence[Replica] = TWO) -> Transition:
    wanted = live(WEB)
    return resize("stop", wanted, msgspec.structs.replace(wanted, stopped=HOLD, change="c2"), WEB, replicas)


def repaired(replicas: Sequence[Replica], keep: Sequence[str]) -> Transition:
    return repair(live(WEB), WEB, replicas, keep=keep, count=2, change="c2", reason="a replica exited")


@pytest.mark.parametrize(
    ("transition", "add", "keep", "remove", "names"),
    [
        pytest.param(
            upgrade(Wanted(service="web"), WEB, ()), 2, 0, 0, "start gate cutover commit history", id="first upgrade"
        ),
        pytest.param(
            upgrade(live(WEB), WEB, TWO), 2, 0, 2, "start gate cutover commit drain retire history", id="next upgrade"
        ),
        pytest.param(
            upgrade(live(WEB), WEB, TWO, Hook(command=("migrate",))),
            2, 0, 2, "hook start gate cutover commit drain retire history", id="with a hook",
        ),
        pytest.param(
            upgrade(live(CLOCK), CLOCK, TWO[:1]), 1, 0, 1, "replace commit retire history", id="stop-first"
        ),
        pytest.param(scaled(4), 2, 2, 0, "start gate cutover commit history", id="scale up"),
        pytest.param(scaled(1), 0, 1, 1, "cutover commit drain retire history", id="scale down"),
        pytest.param(scaled(0), 0, 0, 2, "cutover commit drain retire history", id="scale to nothing"),
        pytest.param(scaled(2), 0, 2, 0, "cutover commit history", id="scale to the same count"),
        pytest.param(
            scaled(2, (replica(2), replica(3, state="exited"))),
            1, 1, 1, "start gate cutover commit drain retire history", id="one replica has exited",
        ),
        pytest.param(
            scaled(2, (*TWO, replica(4, "c0"))),
            0, 2, 1, "cutover commit drain retire history", id="a replica of another release is removed",
        ),
        pytest.param(stopped(), 0, 0, 2, "cutover commit drain retire history", id="stop"),
        pytest.param(
            repaired((*TWO, replica(4, "c0")), ["i2"]),
            1, 1, 2, "start gate cutover commit drain retire history", id="repair",
        ),
        pytest.param(
            upgrade(live(JOBS), JOBS, ()), 0, 0, 0, "generate commit crontab history", id="a service with a crontab"
        ),
    ],
)  # fmt: skip
def test_each_action_keeps_adds_and_removes_replicas_in_these_steps(
    transition: Transition, add: int, keep: int, remove: int, names: str
) -> None:
    assert (transition.add, len(transition.keep), len(transition.remove)) == (add, keep, remove)
    assert [step.name for step in steps([transition])] == names.split()


def test_a_service_that_leaves_the_traffic_layer_is_cut_over_once_more() -> None:
    without = msgspec.structs.replace(WEB, service=msgspec.structs.replace(WEB.service, nginx=None), written={})
    transition = upgrade(live(WEB), without, TWO)
    assert transition.routed
    assert {"cutover", "drain"} <= {step.name for step in steps([transition])}
    assert not upgrade(live(without), without, TWO).routed


def test_stop_first_applies_when_the_old_or_the_new_definition_requires_it() -> None:
    start_first = msgspec.structs.replace(
        CLOCK, service=msgspec.structs.replace(CLOCK.service, order="start-first"), written={}
    )
    for transition in (
        upgrade(live(CLOCK), start_first, TWO[:1]),
        upgrade(live(start_first), CLOCK, TWO[:1]),
    ):
        assert transition.stop_first
        assert [step.name for step in steps([transition])] == ["replace", "commit", "retire", "history"]
    assert not upgrade(live(start_first), start_first, TWO[:1]).stop_first


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (live(WEB), 2),
        (live(WEB, scale=5), 5),
        (live(WEB, scale=0), 0),
        (live(WEB, scale=5, stopped=HOLD), 0),
    ],
)
def test_wanted_count(wanted: Wanted, count: int) -> None:
    assert wanted_count(wanted, WEB) == count


def test_the_count_of_another_definition_may_apply() -> None:
    five = msgspec.structs.replace(WEB, service=msgspec.structs.replace(WEB.service, count=5))
    release = new_release(WEB, "r1", "sha256:1", "c2")
    transition = replace("restart", live(WEB), WEB, release, TWO, keep_releases=2, count_from=five)
    assert transition.count == 5
    started = resize("start", live(WEB, stopped=HOLD), live(WEB), WEB, (), count_from=five)
    assert started.count == 5


@pytest.mark.parametrize(
    ("written", "drift"),
    [
        ({"nginx": {}}, False),
        ({"nginx": {}, "count": 7}, False),
        ({"nginx": {}, "notify": ["page-me"]}, False),
        ({"nginx": {}, "memory": "1GiB"}, True),
        ({}, True),
    ],
)
def test_a_definition_drifts_when_anything_but_its_count_and_notify_differs(
    written: dict[str, Any], drift: bool
) -> None:
    assert drifted(live(WEB), msgspec.structs.replace(WEB, written=written)) is drift
    assert not drifted(Wanted(service="web"), WEB)


def deployed(*revisions: str, keep: int) -> Wanted:
    """Return the wanted state after these upgrades."""
    wanted = Wanted(service="web")
    for number, revision in enumerate(revisions):
        wanted = wanted.with_release(new_release(WEB, revision, "i", f"c{number}"), keep=keep)
    return wanted


def test_a_rollback_goes_to_the_release_before_or_to_a_kept_revision() -> None:
    wanted = deployed("r0", "r1", "r2", keep=3)
    assert rollback_target(wanted, None).revision == "r1"
    assert rollback_target(wanted, "r0").revision == "r0"


@pytest.mark.parametrize(
    ("wanted", "revision", "sentence"),
    [
        pytest.param(
            deployed("r0", "r1", "r2", keep=1), "r0",
            "cannot roll back web: revision r0 is not retained; retained revisions: r1", id="a revision that is no longer kept",
        ),
        pytest.param(
            deployed("r0", keep=1), None,
            "cannot roll back web: no release before r0 is retained; retained revisions: none", id="the first release",
        ),
        pytest.param(
            deployed("r0", "r1", keep=1), "r1", "cannot roll back web: r1 is the live revision", id="the live revision"
        ),
        pytest.param(
            Wanted(service="web"), None,
            "cannot find a release of web: it has never been deployed on this host", id="a service never deployed",
        ),
    ],
)  # fmt: skip
def test_a_rollback_without_a_kept_release_is_refused(wanted: Wanted, revision: str | None, sentence: str) -> None:
    with pytest.raises(ConductorError) as refused:
        rollback_target(wanted, revision)
    assert refused.value.sentence == sentence


@pytest.mark.parametrize(
    ("revision", "hint"),
    [
        (None, "to deploy an earlier revision, run conductor service upgrade --id web --revision REV"),
        ("r9", "to deploy it, run conductor service upgrade --id web --revision r9"),
    ],
)
def test_a_refused_rollback_says_how_to_deploy_the_revision(revision: str | None, hint: str) -> None:
    with pytest.raises(ConductorError) as refused:
        rollback_target(deployed("r0", keep=1), revision)
    assert refused.value.hint == hint


def test_a_stopped_service_is_refused() -> None:
    refuse_stopped(live(WEB))
    with pytest.raises(ConductorError) as refused:
        refuse_stopped(live(WEB, stopped=HOLD))
    assert refused.value.sentence == "web is stopped: ada stopped it at 2026-01-01T00:00:00Z (holiday)"
    assert "service start --id web" in refused.value.hint


def test_an_upgrade_starts_a_stopped_service() -> None:
    transition = upgrade(live(WEB, stopped=HOLD), WEB, ())
    assert (transition.old.stopped, transition.new.stopped, transition.count) == (HOLD, None, 2)


def test_a_repair_keeps_the_release_and_has_a_reason() -> None:
    transition = repaired(TWO, ["i2"])
    assert (transition.action, transition.reason) == ("repair", "a replica exited")
    assert (transition.new.release, transition.new.change) == (transition.old.release, "c2")


@pytest.mark.parametrize(
    ("action", "generates", "installs"),
    [
        ("upgrade", True, True),
        ("restart", True, True),
        ("rollback", False, True),
        ("start", False, True),
        ("stop", False, True),
        ("scale", False, False),
        ("repair", False, False),
    ],
)
def test_which_actions_generate_and_install_a_crontab(action: ChangeAction, generates: bool, installs: bool) -> None:
    transition = Transition(action=action, definition=JOBS, old=live(JOBS), new=live(JOBS), count=0)
    assert (bool(transition.generate), transition.installs_crontab) == (generates, installs)


def test_a_crontab_is_removed_when_the_new_definition_has_none() -> None:
    release = msgspec.structs.replace(live(WEB).live, crontab="* * * * * true\n")
    transition = upgrade(live(WEB, release=release), WEB, TWO)
    assert (transition.generate, transition.installs_crontab) == ((), True)
    assert not upgrade(live(WEB), WEB, TWO).installs_crontab


@pytest.mark.parametrize(
    ("transition", "nothing"),
    [
        (resize("start", live(WEB), live(WEB, change="c2"), WEB, TWO), True),
        (resize("start", live(WEB), live(WEB, change="c2"), WEB, TWO[:1]), False),
        (resize("start", live(WEB), live(WEB, change="c2"), WEB, (*TWO, replica(4, "c0"))), False),
        (scaled(2), False),  # the scale is recorded
    ],
)
def test_a_transition_changes_nothing_when_replicas_and_wanted_state_are_the_same(
    transition: Transition, nothing: bool
) -> None:
    assert transition.changes_nothing is nothing


@given(
    st.lists(st.tuples(st.sampled_from(["c1", "c0"]), st.sampled_from(["running", "exited", "created"])), max_size=6),
    st.integers(0, 6),
)
def test_a_resize_ends_with_exactly_the_wanted_count(states: list[tuple[str, str]], count: int) -> None:
    replicas = [replica(number, release, state=state) for number, (release, state) in enumerate(states)]
    transition = scaled(count, replicas)
    assert len(transition.keep) + transition.add == count
    assert sorted(one.id for one in transition.keep + transition.remove) == sorted(one.id for one in replicas)
    assert all(one.running and one.release == "c1" for one in transition.keep)
