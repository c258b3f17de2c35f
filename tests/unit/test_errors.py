"""Errors as values: exit codes, and the context that `within` adds."""

import pytest

from conductor.errors import (
    BusyError,
    ConductorError,
    Interrupted,
    LockHolder,
    LockYielded,
    OperatorError,
    UsageError,
)
from conductor.traffic.port import TrafficUnavailable

HOLDER = LockHolder(7, "service upgrade --id web", "2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConductorError("cannot x"), 1),
        (UsageError("cannot x"), 2),
        (OperatorError("cannot x"), 4),
        (BusyError("web", None), 5),
        (Interrupted(2), 130),
        (Interrupted(15), 143),
        (TrafficUnavailable("nginx is not running"), 1),
    ],
)
def test_type_exit_code_and_fields_stay_within_another_action(error: ConductorError, code: int) -> None:
    wrapped = error.within("upgrade web")
    assert error.code == code
    assert (type(wrapped), wrapped.code) == (type(error), code)
    assert wrapped.sentence == f"cannot upgrade web: {error.sentence}" == str(wrapped)
    assert wrapped is not error


def test_fields_of_a_subclass_stay() -> None:
    interrupted = Interrupted(15).within(details=("web is still running r1",))
    assert interrupted.signal_number == 15
    busy = BusyError("web", HOLDER).within("upgrade web")
    assert busy.holder == HOLDER


def test_the_first_error_stays() -> None:
    error = ConductorError("cannot x", "do this", ("one",))
    error.within("upgrade web", details=("two",), hint="do that")
    assert (error.sentence, error.hint, error.details, str(error)) == ("cannot x", "do this", ("one",), "cannot x")


def test_without_an_action_the_sentence_stays() -> None:
    assert ConductorError("cannot x").within(details=("one",)).sentence == "cannot x"


def test_more_details_come_after_the_errors_own() -> None:
    wrapped = ConductorError("x", details=("one", "two")).within("a", details=("three",)).within(details=("four",))
    assert wrapped.details == ("one", "two", "three", "four")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("do this", "do that", "do this"), ("", "do that", "do that"), ("do this", "", "do this"), ("", "", "")],
)
def test_the_first_hint_wins(first: str, second: str, expected: str) -> None:
    assert ConductorError("x", first).within("a", hint=second).hint == expected


@pytest.mark.parametrize(
    ("holder", "sentence"),
    [
        (
            HOLDER,
            "cannot lock web: process 7 (service upgrade --id web) has held it since 2026-01-01T00:00:00Z",
        ),
        (None, "cannot lock web: another process holds the lock"),
    ],
)
def test_wording_of_a_busy_lock(holder: LockHolder | None, sentence: str) -> None:
    assert BusyError("web", holder).sentence == sentence


def test_a_yielded_lock_is_no_error_to_report() -> None:
    assert not issubclass(LockYielded, Exception)
