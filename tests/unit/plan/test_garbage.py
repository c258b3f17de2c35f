"""What `gc` removes, given what is there."""

import pytest

from conductor.plan.garbage import (
    HISTORY_FILES,
    HISTORY_SECONDS,
    LOGS_WHEN_FULL,
    Garbage,
    KeptFile,
    Kind,
    LocalImage,
    Needs,
    PulledImage,
    PulledImages,
    forgotten,
    garbage_history,
    garbage_images,
    garbage_logs,
    needs,
    summary,
)
from conductor.plan.journal import Journal
from conductor.plan.release import Release, Wanted

TAG, DIGEST = "r.example:5000/shop:r1", "r.example:5000/shop@sha256:d1"
PULLED = PulledImages(service="web", images=(PulledImage(reference=TAG, image_id="i1"),))
BY_DIGEST = PulledImages(service="web", images=(PulledImage(reference=DIGEST, image_id="i1"),))


def local(*references: str, image: str = "i1", in_use: bool = False) -> LocalImage:
    return LocalImage(id=image, references=references, bytes=100, in_use=in_use)


@pytest.mark.parametrize(
    ("pulled", "image", "needed", "name", "frees"),
    [
        pytest.param(PULLED, local(TAG, DIGEST), Needs(), TAG, 100, id="nothing needs it"),
        pytest.param(PULLED, local(TAG), Needs(), TAG, 100, id="without a digest"),
        pytest.param(BY_DIGEST, local(DIGEST), Needs(), DIGEST, 100, id="pulled by its digest"),
        pytest.param(PULLED, local(), Needs(), "i1", 100, id="its tag moved to another image"),
        pytest.param(PULLED, local(TAG, "mine:1"), Needs(), TAG, 0, id="somebody tagged it, so only the name goes"),
        pytest.param(PULLED, local(TAG, DIGEST, "mine@sha256:d1"), Needs(), TAG, 0, id="pulled from elsewhere too"),
        pytest.param(PULLED, local(DIGEST), Needs(), DIGEST, 100, id="its tag moved, and its digest is left"),
        pytest.param(
            PULLED, local(DIGEST, "mine@sha256:d1"), Needs(), None, 0, id="its tag moved, and it has another name"
        ),
        pytest.param(PULLED, local("mine:1"), Needs(), None, 0, id="it only has a foreign tag"),
        pytest.param(PULLED, local(TAG, in_use=True), Needs(), None, 0, id="a container uses it"),
        pytest.param(PULLED, local(TAG), Needs(image_ids=frozenset({"i1"})), None, 0, id="a release needs it"),
        pytest.param(PULLED, local(TAG), Needs(revisions=frozenset({"r1"})), None, 0, id="a crontab names it"),
        pytest.param(PULLED, local(TAG), Needs(revisions=frozenset({"r10"})), TAG, 100, id="another revision is named"),
        pytest.param(PULLED, local(TAG, image="i2"), Needs(), None, 0, id="the tag is another image's"),
        pytest.param(PulledImages(service="web"), local(TAG), Needs(), None, 0, id="Conductor did not pull it"),
    ],
)
def test_images(pulled: PulledImages, image: LocalImage, needed: Needs, name: str | None, frees: int) -> None:
    found = [garbage for _, garbage in garbage_images(pulled, [image], needed)]
    assert found == ([Garbage(kind=Kind.IMAGE, service="web", name=name, bytes=frees)] if name else [])


@pytest.mark.parametrize(
    ("image", "is_forgotten"),
    [
        pytest.param(local(TAG, in_use=True), False, id="it is there"),
        pytest.param(local(), False, id="it has no name any more"),
        pytest.param(local(DIGEST), False, id="its tag moved, and its digest is left"),
        pytest.param(local("mine:1"), True, id="it only has a foreign tag"),
        pytest.param(local(TAG, image="i2"), True, id="it was removed"),
    ],
)
def test_records_that_mean_nothing_any_more(image: LocalImage, is_forgotten: bool) -> None:
    assert bool(forgotten(PULLED, [image])) is is_forgotten


def release(revision: str) -> Release:
    return Release(
        id="c", service="web", revision=revision, image=f"shop:{revision}", image_id=f"i-{revision}", digest="",
        definition={},
    )  # fmt: skip


def test_live_and_kept_releases_and_those_of_a_change_in_progress_are_needed() -> None:
    state = Wanted(service="web", release=release("r3"), kept=(release("r2"), release("r1")))
    new = Wanted(service="web", release=release("r4"), kept=(release("r3"),))
    journal = Journal(
        change="c", service="web", action="upgrade", command="", who="", began="", old=state, new=new
    )  # fmt: skip
    first = Wanted(service="worker")
    assert needs([(None, state), (None, first)], []).image_ids == {"i-r1", "i-r2", "i-r3"}
    assert needs([(journal, new)], []).image_ids == {"i-r1", "i-r2", "i-r3", "i-r4"}
    assert needs([(journal, first)], []).image_ids == {"i-r1", "i-r2", "i-r3", "i-r4"}


@pytest.mark.parametrize(
    ("text", "revisions"),
    [
        ("*/30 * * * * root /usr/local/bin/conductor run --id a --revision 279d bin/rails runner ''\n", {"279d"}),
        ("@daily root conductor run --revision=v1.2-b --id a x\n@daily root conductor run --revision 'q' y", {"v1.2-b", "q"}),
        ("# conductor run --revision old", {"old"}),
        ("17 * * * * root run-parts /etc/cron.hourly\n", set()),
        ("", set()),
    ],
)  # fmt: skip
def test_revisions_of_a_crontab(text: str, revisions: set[str]) -> None:
    assert needs([], [text]).revisions == revisions


def logs(*ages: float, service: str = "web") -> list[KeptFile]:
    return [KeptFile(service=service, name=f"{age:g}", modified=1000.0 - age, bytes=7) for age in ages]


@pytest.mark.parametrize(
    ("kept", "full", "removed"),
    [
        pytest.param(logs(5, 50, 100, 101, 200), False, ["200", "101"], id="by age"),
        pytest.param(logs(*range(8)), False, [], id="none is old"),
        pytest.param(logs(*range(8)), True, ["7", "6", "5"], id="a full disk: the oldest"),
        pytest.param(logs(*range(4)) + logs(*range(4), service="b"), True, [], id="a full disk: of each service"),
        pytest.param(logs(200), True, ["200"], id="old, and the disk is full"),
    ],
)
def test_logs(kept: list[KeptFile], full: bool, removed: list[str]) -> None:
    assert LOGS_WHEN_FULL == 5
    assert [one.name for one in garbage_logs(kept, 1000.0, 100.0, full=full)] == removed


@pytest.mark.parametrize(
    ("ages", "full", "left"),
    [
        pytest.param([9, 8, 7], False, [9, 8, 7], id="few"),
        pytest.param([*range(HISTORY_FILES + 2, 0, -1)], False, [*range(HISTORY_FILES, 0, -1)], id="too many"),
        pytest.param([9, 8, 7], True, [7], id="a full disk"),
        pytest.param([HISTORY_SECONDS + 1, 8, 7], False, [8, 7], id="too old"),
        pytest.param([HISTORY_SECONDS + 1], True, [HISTORY_SECONDS + 1], id="the latest one stays"),
        pytest.param([], True, [], id="none"),
    ],
)
def test_history(ages: list[float], full: bool, left: list[float]) -> None:
    rotated = [KeptFile(name=f"{age:g}", modified=1e9 - age, bytes=7) for age in ages]
    removed = {one.name for one in garbage_history(rotated, 1e9, full=full)}
    assert [one.name for one in rotated if one.name not in removed] == [f"{age:g}" for age in left]


def test_summary() -> None:
    image, job = Garbage(kind=Kind.IMAGE, name="a"), Garbage(kind=Kind.JOB, name="b")
    assert summary([image, job, image]) == "2 images, 1 job result"
    assert summary([]) == "nothing"
