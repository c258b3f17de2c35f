"""The wording of each reason of `supervise`, and that each is stored and read again."""

import typing

import msgspec
import pytest

from conductor.plan.reason import (
    AnyReason,
    AsWanted,
    Busy,
    Drifted,
    InterruptedChange,
    Mismatch,
    NeverDeployed,
    Paused,
    Starting,
    StoppedWithHost,
    Unreadable,
    WrongTraffic,
    describe,
)
from conductor.plan.release import Hold

HOLD = Hold(reason="leap day", who="ada", since="2024-02-29T10:00:00.000Z")
UNTIL = msgspec.structs.replace(HOLD, until="2024-02-29T11:00:00.000Z")
TEXTS = [
    (AsWanted(), "no action needed"),
    (NeverDeployed(), "never deployed on this host"),
    (Paused(HOLD), "paused by ada: leap day"),
    (Paused(UNTIL), "paused by ada until 2024-02-29T11:00:00Z: leap day"),
    (Busy(), "another command is changing the service"),
    (Unreadable("cannot read web.json: damaged"), "cannot read web.json: damaged"),
    (InterruptedChange(), "a change was interrupted"),
    (Starting(), "waiting for replicas to become healthy"),
    (StoppedWithHost(2), "2 containers were stopped by a host or Docker restart"),
    (Mismatch(wanted=2, healthy=1), "2 wanted, 1 healthy"),
    (Mismatch(wanted=2, healthy=0, unhealthy=1, exited=1, other_release=1),
        "2 wanted, 0 healthy, 1 unhealthy, 1 exited, 1 from another release"),
    (WrongTraffic(("10.0.0.1:80", "10.0.0.2:80")), "nginx must be updated to send requests only to 10.0.0.1:80, 10.0.0.2:80"),
    (Drifted(), "the definition, or a file that it names, changed after the last deploy"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "text"), TEXTS)
def test_text(reason: AnyReason, text: str) -> None:
    assert describe(reason) == text


@pytest.mark.parametrize("reason", [reason for reason, _ in TEXTS])
def test_stored_and_read_again(reason: AnyReason) -> None:
    assert msgspec.json.decode(msgspec.json.encode(reason), type=AnyReason) == reason


def test_every_reason_has_a_text() -> None:
    assert {type(reason) for reason, _ in TEXTS} == set(typing.get_args(AnyReason))
