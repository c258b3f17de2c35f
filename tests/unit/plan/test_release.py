"""The wanted state of a service: releases kept for a rollback, and holds."""

import pytest

from conductor.errors import ConductorError
from conductor.plan.release import Hold, Release, Wanted


def release(revision: str) -> Release:
    return Release(
        id=f"change-{revision}", service="web", revision=revision, image=f"app:{revision}", image_id="i", digest="d",
        definition={},
    )  # fmt: skip


def deployed(*revisions: str, keep: int) -> Wanted:
    """Return the wanted state after these upgrades."""
    wanted = Wanted(service="web")
    for revision in revisions:
        wanted = wanted.with_release(release(revision), keep=keep)
    return wanted


@pytest.mark.parametrize(
    ("revisions", "keep", "live", "kept"),
    [
        (["r0"], 3, "r0", []),
        (["r0", "r1", "r2", "r3", "r4"], 3, "r4", ["r3", "r2", "r1"]),
        (["r0", "r1", "r2"], 1, "r2", ["r1"]),
        (["r0", "r0"], 3, "r0", []),
        (["r0", "r1", "r2", "r0"], 3, "r0", ["r2", "r1"]),
    ],
    ids=["the first release", "the oldest are dropped", "one is kept", "the same revision again", "a rollback"],
)
def test_earlier_releases_are_kept_newest_first(revisions: list[str], keep: int, live: str, kept: list[str]) -> None:
    wanted = deployed(*revisions, keep=keep)
    assert (wanted.live.revision, [one.revision for one in wanted.kept]) == (live, kept)


def test_a_release_is_found_by_its_revision() -> None:
    wanted = deployed("r0", "r1", keep=3)
    found = [wanted.find(revision) for revision in (None, "r1", "r0", "r7")]
    assert [one and one.revision for one in found] == ["r1", "r1", "r0", None]


def test_a_service_that_was_never_deployed_has_no_live_release() -> None:
    wanted = Wanted(service="web")
    assert wanted.find("r1") is None
    with pytest.raises(ConductorError) as refused:
        assert wanted.live
    assert refused.value.sentence == "cannot find a release of web: it has never been deployed on this host"
    assert refused.value.hint.startswith("conductor service upgrade --id web")


@pytest.mark.parametrize(
    ("until", "over"), [(None, False), ("2026-01-02", True), ("2026-01-03", True), ("2026-01-04", False)]
)
def test_a_hold_is_over_once_its_end_has_passed(until: str | None, over: bool) -> None:
    assert Hold(reason="", who="ada", since="2026-01-01", until=until).is_over("2026-01-03") is over
