"""The plan of an upgrade by cases: what runs, what is asked, which steps."""

import pytest

from conductor.definitions.model import Definition, Health, Nginx, Service
from conductor.plan.upgrade import decide, release
from conductor.plan.values import Container, Wanted

WEB = Definition(
    id="web",
    service=Service(image="app", port=80, count=2, health=Health(path="/up"), nginx=Nginx()),
    written={},
    digest="d1",
)
EMPTY = Definition(id="web", service=Service(image="app", port=80, count=0, nginx=Nginx()), written={}, digest="d1")
LIVE = Wanted(service="web", release=release(WEB, "r1", "sha256:1", "c1"))
FIRST = Wanted(service="web")
ALL = ("start", "gate", "cutover", "commit", "drain", "retire", "record")


def container(change: str, kind: str = "service") -> Container:
    return Container(
        id="i", name="n", service="web", revision="r1", kind=kind, digest="d1", change=change,
        address="10.0.0.2:80", image_id="sha256:1", state="running",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "definition", "revision", "image", "containers", "healthy", "force", "steps"),
    [
        pytest.param(FIRST, WEB, "r1", "sha256:1", [], False, False, ("start", "gate", "cutover", "commit", "record"), id="first"),
        pytest.param(LIVE, WEB, "r2", "sha256:2", ["c1"], True, False, ALL, id="next"),
        pytest.param(LIVE, WEB, "r1", "sha256:1", ["c1"], True, False, (), id="same-and-healthy"),
        pytest.param(LIVE, WEB, "r1", "sha256:1", ["c1"], True, True, ALL, id="same-forced"),
        pytest.param(LIVE, WEB, "r1", "sha256:1", ["c1"], False, False, ALL, id="same-but-not-healthy"),
        pytest.param(LIVE, WEB, "r1", "sha256:9", ["c1"], True, False, ALL, id="tag-was-moved"),
        pytest.param(LIVE, EMPTY, "r2", "sha256:2", ["c1"], True, False, ("start", "cutover", "commit", "drain", "retire", "record"), id="count-0"),
        pytest.param(FIRST, WEB, "r1", "sha256:1", ["stray"], False, False, ALL, id="leftovers-are-retired"),
    ],
)  # fmt: skip
def test_steps(wanted, definition, revision, image, containers, healthy, force, steps):
    new = release(definition, revision, image, "c2")
    plan = decide(wanted, definition, new, [container(c) for c in containers], healthy=healthy, force=force)
    assert tuple(step.name for step in plan.steps) == steps
    assert bool(plan.nothing) == (not steps)
    assert all(step.text for step in plan.steps)


def test_tasks_are_not_retired():
    plan = decide(FIRST, WEB, release(WEB, "r1", "i", "c"), [container("x", kind="task")], healthy=False, force=False)
    assert "retire" not in [step.name for step in plan.steps]


def test_commit_keeps_what_was_live_for_rollback():
    wanted = FIRST
    for number in range(5):
        wanted = wanted.committed(release(WEB, f"r{number}", "i", f"c{number}"), keep=3)
    assert wanted.release.revision == "r4"
    assert [kept.revision for kept in wanted.kept] == ["r3", "r2", "r1"]
