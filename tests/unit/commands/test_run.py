"""The options of `conductor run`: what is refused before anything is contacted."""

import os

import pytest

from conductor.commands.run import JOB_DOCKER_WAIT_SECONDS, command, docker_wait_seconds, passes_input
from conductor.errors import UsageError

REFUSED = {
    "no command": ((), "cannot run a task: the command is missing"),
    "an empty command": (("",), "cannot run a task: the command is missing"),
    "no terminal": (("-t", "sh"), "cannot attach a terminal: standard input or output is not a terminal"),
    "detached with a limit": (
        ("--detach", "--timeout", "3s", "true"),
        "--detach cannot be combined with -t, -i, --timeout or --job",
    ),
    "detached cron job": (
        ("--detach", "--job", "k", "true"),
        "--detach cannot be combined with -t, -i, --timeout or --job",
    ),
    "no time": (("--timeout", "0", "true"), "cannot use --timeout 0: it must be longer than 0"),
    "a job key that is a path": (
        ("--job", "../x", "true"),
        "cannot use job key '../x': it must consist of at most 64 letters, digits, - and _",
    ),
    "a variable without a name": (("-e", "=x", "true"), "cannot set a variable: its name is missing"),
}


@pytest.mark.parametrize(("words", "sentence"), REFUSED.values(), ids=REFUSED)
def test_refused(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError) as raised:
        command.main(["--id", "web", *words], standalone_mode=False)
    assert raised.value.sentence == sentence


def test_a_variable_of_the_caller_that_is_not_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYTES", os.fsdecode(b"\xff"))
    with pytest.raises(UsageError) as raised:
        command.main(["--id", "web", "-e", "BYTES", "true"], standalone_mode=False)
    assert raised.value.sentence == "cannot pass variable BYTES to the task: it is not UTF-8, which Docker requires"


INPUTS = {
    "a task": (False, False, "", False),
    "with -i": (False, True, "", True),
    "with -t": (True, False, "", True),
    "a cron job": (False, False, "k1", True),
}


@pytest.mark.parametrize(("tty", "interactive", "job", "passed"), INPUTS.values(), ids=INPUTS)
def test_standard_input_is_passed_to(
    monkeypatch: pytest.MonkeyPatch, tty: bool, interactive: bool, job: str, passed: bool
) -> None:
    monkeypatch.setattr(os, "isatty", lambda _descriptor: False)
    assert passes_input(tty=tty, interactive=interactive, job=job) is passed


@pytest.mark.parametrize(
    ("given", "job", "seconds"),
    [(None, "", 0.0), (None, "k1", JOB_DOCKER_WAIT_SECONDS), (300.0, "k1", 300.0), (0.0, "k1", 0.0), (5.0, "", 5.0)],
)
def test_how_long_a_task_waits_for_docker(given: float | None, job: str, seconds: float) -> None:
    assert docker_wait_seconds(given, job) == seconds
