"""What the journal of a service change shows: endpoints before and after, and the number of replicas."""

from typing import Any

import pytest

from conductor.errors import ConductorError
from conductor.plan.journal import Journal
from conductor.plan.release import Release, Wanted
from conductor.plan.replica import Replica

RELEASE = Release(id="c2", service="web", revision="r2", image="app:r2", image_id="sha256:2", digest="d", definition={})


def journal(**fields: Any) -> Journal:
    return Journal(
        **{
            "change": "c2", "service": "web", "action": "upgrade", "command": "test", "who": "ada",
            "began": "2026-01-01T00:00:00Z", "old": Wanted(service="web"),
            "new": Wanted(service="web", release=RELEASE), **fields,
        }
    )  # fmt: skip


def replica(number: int, *, state: str = "running", port: int | None = 80) -> Replica:
    address = f"10.0.0.{number}" + (f":{port}" if port else "")
    return Replica(
        id=f"i{number}", name=f"web-{number}", service="web", revision="r1", release="c1", change="c1", address=address,
        state=state,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "endpoints", "old", "new", "count"),
    [
        pytest.param({}, (), (), (), 0, id="nothing before, nothing new"),
        pytest.param(
            {"reserved": ("10.0.0.5:80", "10.0.0.6:80")},
            ("10.0.0.5:80", "10.0.0.6:80"), (), ("10.0.0.5:80", "10.0.0.6:80"), 2, id="first deploy",
        ),
        pytest.param(
            {"before": (replica(2), replica(3)), "reserved": ("10.0.0.5:80",)},
            ("10.0.0.5:80",), ("10.0.0.2:80", "10.0.0.3:80"), ("10.0.0.5:80",), 1, id="every replica is replaced",
        ),
        pytest.param(
            {"before": (replica(2), replica(3)), "keep": ("i3",), "reserved": ("10.0.0.5:80",)},
            ("10.0.0.3:80", "10.0.0.5:80"), ("10.0.0.2:80",), ("10.0.0.5:80",), 2, id="one stays",
        ),
        pytest.param(
            {"before": (replica(2, state="exited"), replica(3)), "keep": ("i3",), "reserved": ("10.0.0.5:80",)},
            ("10.0.0.3:80", "10.0.0.5:80"), (), ("10.0.0.5:80",), 2, id="an exited replica has no endpoint to drain",
        ),
        pytest.param(
            {"before": (replica(2, port=None), replica(3, port=None)), "keep": ("i3",), "reserved": ("10.0.0.5",)},
            (), (), (), 2, id="a service without a port has no endpoints",
        ),
    ],
)  # fmt: skip
def test_endpoints_and_count(
    fields: dict[str, Any], endpoints: tuple[str, ...], old: tuple[str, ...], new: tuple[str, ...], count: int
) -> None:
    found = journal(**fields)
    assert (found.endpoints, found.old_endpoints, found.new_endpoints, found.count) == (endpoints, old, new, count)


def test_the_release_of_new_replicas_is_the_new_live_one() -> None:
    assert journal().release == RELEASE
    with pytest.raises(ConductorError):
        assert journal(new=Wanted(service="web")).release
