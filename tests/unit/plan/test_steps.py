"""The steps of a change: their order over several services, and their wording."""

from collections.abc import Callable

import msgspec
import pytest

from conductor.definitions.model import Cron, Definition, Health, Hook, Nginx, Service
from conductor.definitions.scalars import Period
from conductor.plan.release import Hold, Wanted
from conductor.plan.replica import Replica
from conductor.plan.steps import drain_seconds, replicas_text, steps
from conductor.plan.transition import Transition, new_release, replace, resize

WEB = Definition(
    id="web",
    service=Service(
        image="app", port=80, count=2, health=Health(path="/up", successes=2), nginx=Nginx(upstream="shop", drain=Period(9))
    ),
    written={"nginx": {}},
    digest="d",
)  # fmt: skip
CLOCK = Definition(
    id="clock",
    service=Service(image="app", count=1, health=Health(none=True, stable_for=Period(5)), order="stop-first"),
    written={"order": "stop-first"},
    digest="d",
)
JOBS = Definition(
    id="jobs",
    service=Service(image="app", count=0, cron=Cron(generate=("bin/cron", "-v"))),
    written={"cron": {}},
    digest="d",
)


def live(definition: Definition) -> Wanted:
    return Wanted(service=definition.id, release=new_release(definition, "r1", "sha256:1", "c1"), change="c1")


def two(definition: Definition) -> tuple[Replica, ...]:
    """Return two running replicas of the live release."""
    return tuple(
        Replica(
            id=f"{definition.id}{n}", name=f"{definition.id}-{n}", service=definition.id, revision="r1", release="c1",
            change="c1", address=f"10.0.0.{n}:80", state="running",
        )
        for n in (1, 2)
    )  # fmt: skip


def upgrade(definition: Definition, *, hook: Hook | None = None) -> Transition:
    new = new_release(definition, "r2", "sha256:2", "c2")
    old = two(definition)[: definition.service.count]
    return replace("upgrade", live(definition), definition, new, old, keep_releases=2, hook=hook)


def stop(definition: Definition) -> Transition:
    hold = Hold(reason="", who="ada", since="2026-01-01T00:00:00Z")
    wanted = live(definition)
    return resize("stop", wanted, msgspec.structs.replace(wanted, stopped=hold), definition, two(definition))


def test_several_services_are_one_list_of_steps() -> None:
    found = steps([upgrade(WEB), upgrade(CLOCK)])
    names = [step.name for step in found]
    assert names == ["start", "gate", "replace", "cutover", "commit", "drain", "retire", "history"]
    texts = {step.name: step.text for step in found}
    assert [name for name in names if "clock" in texts[name]] == ["replace", "commit", "retire"]
    assert [name for name in names if "web" in texts[name]] == ["start", "gate", "cutover", "commit", "drain", "retire"]


@pytest.mark.parametrize(
    ("transition", "expected"),
    [
        pytest.param(
            upgrade(WEB, hook=Hook(command=("bin/migrate", "-x"))),
            {
                "hook": "run before_upgrade for web r2: bin/migrate -x",
                "start": "start 2 replicas of web r2 (live: r1)",
                "gate": "wait for web: each replica must pass 2 checks in a row (/up)",
                "cutover": "route requests for upstream shop to 2 replicas of web r2",
                "commit": "record web r2 (2 replicas) as the live release",
                "drain": "drain old replicas of web for up to 9s",
                "retire": "stop and remove 2 replicas of web",
                "history": "record the change in the history",
            },
            id="upgrade",
        ),
        pytest.param(
            upgrade(CLOCK),
            {
                "replace": "stop clock r1, then start 1 replica of clock r2 (live: r1), then wait:"
                " each replica must run for 5s without exiting",
                "commit": "record clock r2 (1 replica) as the live release",
                "retire": "stop and remove 1 replica of clock",
                "history": "record the change in the history",
            },
            id="stop-first",
        ),
        pytest.param(
            stop(WEB),
            {
                "cutover": "return 503 for upstream shop",
                "commit": "record web as stopped",
                "drain": "drain old replicas of web for up to 9s",
                "retire": "stop and remove 2 replicas of web",
                "history": "record the change in the history",
            },
            id="stop",
        ),
        pytest.param(
            upgrade(JOBS),
            {
                "generate": "generate the crontab for jobs r2: bin/cron -v",
                "commit": "record jobs r2 (0 replicas) as the live release",
                "crontab": "install the crontab for jobs",
                "history": "record the change in the history",
            },
            id="a service with a crontab",
        ),
    ],
)
def test_wording_of_the_steps(transition: Transition, expected: dict[str, str]) -> None:
    assert {step.name: step.text for step in steps([transition])} == expected


@pytest.mark.parametrize(
    ("definition", "step", "text"),
    [
        (WEB, "retire", "run before_stop (bin/quiet -x), then stop and remove 2 replicas of web"),
        (
            CLOCK,
            "replace",
            "run before_stop (bin/quiet -x), then stop clock r1, then start 1 replica of clock r2 (live: r1), then wait: each replica must run for 5s without exiting",
        ),
    ],
    ids=["start-first", "stop-first"],
)
def test_a_command_before_the_stop_is_that_of_the_old_release(definition: Definition, step: str, text: str) -> None:
    hook = {**definition.written, "before_stop": {"command": ["bin/quiet", "-x"]}}
    transition = upgrade(definition)
    assert transition.old.release is not None
    old = msgspec.structs.replace(transition.old.release, definition=hook)
    transition = msgspec.structs.replace(transition, old=msgspec.structs.replace(transition.old, release=old))
    texts = {one.name: one.text for one in steps([transition])}
    assert texts[step] == text
    assert [name for name, text in texts.items() if "before_stop" in text] == [step]


def test_a_replica_that_is_stopped_first_is_waited_for() -> None:
    definition = msgspec.structs.replace(CLOCK, written={**CLOCK.written, "stop": {"wait": False}})
    texts = {one.name: one.text for one in steps([upgrade(definition)])}
    assert texts["retire"] == "stop and remove 1 replica of clock"


@pytest.mark.parametrize(
    ("transition", "text"),
    [
        (upgrade, "send the stop signal to 2 replicas of web, which supervise will remove"),
        (stop, "stop and remove 2 replicas of web"),
    ],
)
def test_only_a_deploy_does_not_wait_for_old_replicas(
    transition: Callable[[Definition], Transition], text: str
) -> None:
    definition = msgspec.structs.replace(WEB, written={**WEB.written, "stop": {"wait": False}})
    assert {one.name: one.text for one in steps([transition(definition)])}["retire"] == text


def test_a_stopped_service_has_its_crontab_removed() -> None:
    texts = {step.name: step.text for step in steps([stop(JOBS)])}
    assert texts["crontab"] == "remove the crontab for jobs"


def test_the_drain_time_is_the_definitions_or_the_default() -> None:
    assert drain_seconds(WEB) == 9
    assert drain_seconds(CLOCK) == Nginx().drain


@pytest.mark.parametrize(("count", "text"), [(0, "0 replicas"), (1, "1 replica"), (2, "2 replicas")])
def test_wording_of_a_number_of_replicas(count: int, text: str) -> None:
    assert replicas_text(count) == text
