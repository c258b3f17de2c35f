"""What each verb wants of a service, and which steps that takes: by cases, and as properties over any state."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.definitions.model import Definition, Health, Hook, Nginx, Service
from conductor.errors import ConductorError
from conductor.plan.steps import steps
from conductor.plan.transition import adjust, previous_release, refuse_stopped, release, replace_all, wanted_count
from conductor.plan.values import Container, Held, Wanted

HEALTH = Health(path="/up")
WEB = Definition(
    id="web",
    service=Service(image="app", port=80, count=2, health=HEALTH, nginx=Nginx()),
    written={"nginx": {}},
    digest="d",
)
CLOCK = Definition(
    id="clock",
    service=Service(image="app", count=1, health=Health(none=True), order="stop-first"),
    written={"order": "stop-first"},
    digest="d",
)
HELD = Held(reason="holiday", who="ada", since="2026-01-01T00:00:00Z")


def live(definition: Definition, **fields: object) -> Wanted:
    first = release(definition, "r1", "sha256:1", "c1")
    return msgspec.structs.replace(Wanted(service=definition.id, release=first, change="c1"), **fields)


def container(number: int, change: str = "c1", *, kind: str = "service", state: str = "running") -> Container:
    return Container(
        id=f"i{number}", name=f"web-{number}", service="web", revision="r1", kind=kind, digest="d", change=change,
        address=f"10.0.0.{number}:80", image_id="sha256:1", state=state,
    )  # fmt: skip


TWO = (container(2), container(3))


def upgrade(wanted: Wanted, definition: Definition, containers: tuple[Container, ...], hook: Hook | None = None):
    new = release(definition, "r2", "sha256:2", "c2")
    return replace_all("upgrade", wanted, definition, new, containers, keep_releases=2, hook=hook)


def scaled(count: int | None, containers: tuple[Container, ...] = TWO):
    wanted = live(WEB)
    return adjust("scale", wanted, msgspec.structs.replace(wanted, scale=count, change="c2"), WEB, containers)


@pytest.mark.parametrize(
    ("transition", "added", "kept", "gone", "names"),
    [
        pytest.param(
            upgrade(Wanted(service="web"), WEB, ()), 2, 0, 0, "start gate cutover commit record", id="first upgrade"
        ),
        pytest.param(
            upgrade(live(WEB), WEB, TWO), 2, 0, 2, "start gate cutover commit drain retire record", id="next upgrade"
        ),
        pytest.param(
            upgrade(live(WEB), WEB, TWO, Hook(command=("migrate",))),
            2, 0, 2, "hook start gate cutover commit drain retire record", id="with a hook",
        ),
        pytest.param(upgrade(live(CLOCK), CLOCK, TWO[:1]), 1, 0, 1, "swap commit retire record", id="stop-first"),
        pytest.param(scaled(4), 2, 2, 0, "start gate cutover commit record", id="scale up"),
        pytest.param(scaled(1), 0, 1, 1, "cutover commit drain retire record", id="scale down"),
        pytest.param(scaled(0), 0, 0, 2, "cutover commit drain retire record", id="scale to nothing"),
        pytest.param(scaled(2), 0, 2, 0, "cutover commit record", id="scale to what runs"),
        pytest.param(
            scaled(2, (container(2), container(3, state="exited"))),
            1, 1, 1, "start gate cutover commit drain retire record", id="one is dead",
        ),
        pytest.param(
            scaled(2, (*TWO, container(4, "stray"), container(5, kind="task"))),
            0, 2, 1, "cutover commit drain retire record", id="a stray goes, a task stays",
        ),
    ],
)  # fmt: skip
def test_moves(transition, added, kept, gone, names):
    assert (transition.added, len(transition.keep), len(transition.gone)) == (added, kept, gone)
    assert " ".join(step.name for step in steps([transition])) == names
    assert all(step.text for step in steps([transition]))


def test_several_services_are_one_list_of_steps():
    walked = steps([upgrade(live(WEB), WEB, TWO), upgrade(live(CLOCK), CLOCK, TWO[:1])])
    assert [step.name for step in walked] == ["start", "gate", "swap", "cutover", "commit", "drain", "retire", "record"]
    assert "web" in walked[0].text
    assert "clock" not in walked[0].text


def test_a_service_that_leaves_nginx_is_cut_over_once_more():
    without = msgspec.structs.replace(WEB, service=msgspec.structs.replace(WEB.service, nginx=None), written={})
    names = [step.name for step in steps([upgrade(live(WEB), without, TWO)])]
    assert "cutover" in names
    assert "drain" in names


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (live(WEB), 2),
        (live(WEB, scale=5), 5),
        (live(WEB, scale=0), 0),
        (live(WEB, scale=5, stopped=HELD), 0),
    ],
)
def test_wanted_count(wanted, count):
    assert wanted_count(wanted, WEB) == count


def test_releases_kept_for_rollback():
    wanted = Wanted(service="web")
    for number in range(5):
        wanted = wanted.with_release(release(WEB, f"r{number}", "i", f"c{number}"), keep=3)
    assert [kept.revision for kept in wanted.kept] == ["r3", "r2", "r1"]
    assert previous_release(wanted, None).revision == "r3"
    assert previous_release(wanted, "r1").revision == "r1"
    back = wanted.with_release(previous_release(wanted, "r2"), keep=3)
    assert [kept.revision for kept in back.kept] == ["r4", "r3", "r1"]
    with pytest.raises(ConductorError, match="release r0 is not kept"):
        previous_release(wanted, "r0")
    with pytest.raises(ConductorError, match="nothing of it was deployed here yet"):
        previous_release(Wanted(service="web"), None)


def test_onto_a_stopped_service_nothing_is_deployed_unasked():
    refuse_stopped(live(WEB))
    with pytest.raises(ConductorError, match=r"web is stopped: ada stopped it at 2026-01-01T00:00:00Z \(holiday\)"):
        refuse_stopped(live(WEB, stopped=HELD))


@given(
    st.lists(st.tuples(st.sampled_from(["c1", "old"]), st.sampled_from(["running", "exited", "created"])), max_size=6),
    st.integers(0, 6),
)
def test_adjusting_ends_with_exactly_the_wanted_count(states, count):
    containers = tuple(container(n, change, state=state) for n, (change, state) in enumerate(states))
    transition = scaled(count, containers)
    assert len(transition.keep) + transition.added == count
    assert set(transition.keep) | set(transition.gone) == set(containers)
    assert not set(transition.keep) & set(transition.gone)
    assert all(c.running and c.change == "c1" for c in transition.keep)


def test_what_may_not_run_twice_does_not_run_beside_a_release_that_may():
    may = msgspec.structs.replace(
        CLOCK, service=msgspec.structs.replace(CLOCK.service, order="start-first"), written={}
    )
    for transition in (upgrade(live(CLOCK), may, TWO[:1]), upgrade(live(may), CLOCK, TWO[:1])):
        assert [step.name for step in steps([transition])] == ["swap", "commit", "retire", "record"]


def test_an_upgrade_that_starts_a_stopped_service():
    transition = upgrade(live(WEB, stopped=HELD), WEB, ())
    assert (transition.old.stopped, transition.new.stopped, transition.count) == (HELD, None, 2)
