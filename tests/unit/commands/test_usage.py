"""The errors of a wrong command line say what is wrong and what to write, in the words of all other errors."""

import os
from pathlib import Path

import click
import pytest

from conductor.cli import run
from conductor.commands.options import state_dir_option


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("service upgrade web r1", "cannot run conductor service upgrade: --id is missing\n  add --id ID"),
        ("run ls", "cannot run conductor run: --id is missing\n  add --id ID"),
        (
            "supervise pause --id web",
            "cannot run conductor supervise pause: --reason is missing\n  add --reason TEXT",
        ),
        ("supervise pause --id web --reason= ", "cannot use --reason: must not be empty"),
        (
            "service status web",
            'cannot run conductor service status: unexpected argument "web"\n  name the service with --id',
        ),
        (
            "doctor web",
            'cannot run conductor doctor: unexpected argument "web"\n  conductor doctor --help shows the usage',
        ),
        (
            "service maintenance --id web",
            "cannot run conductor service maintenance: on or off is missing\n  add on or off",
        ),
        ("completion", "cannot run conductor completion: bash, zsh or fish is missing\n  add bash, zsh or fish"),
        ("service upgrade --id", "cannot use --id: it requires an argument"),
        ("gc --plan=x", "cannot use --plan: it does not take a value"),
        ("service maintenance --id web onn", "invalid argument: 'onn' is not one of 'on', 'off'"),
        (
            "service status --id web api worker",
            (
                'cannot run conductor service status: unexpected arguments "api worker"\n'
                "  conductor service status --help shows the usage"
            ),
        ),
        (
            "service scale --id web --id api --count 1",
            (
                "cannot run conductor service scale on several services: --id was given 2 times\n"
                "  repeat the command for each service"
            ),
        ),
        (
            "service upgrade --id web",
            "cannot run conductor service upgrade: --revision is missing\n  add --revision REV",
        ),
        (
            "service upgrade --id web --revision r1 --canary 0",
            "cannot use --canary 0%: it must be more than 0%",
        ),
        (
            "service upgrade --id web --promote --force",
            "cannot combine --promote with --force: the upgrade in progress keeps its options",
        ),
        (
            "service scale --id web --count two",
            "cannot use --count: expected a whole number from 0 to 1000, found 'two'",
        ),
        ("service scale --id web --count -1", "cannot use --count: expected a whole number from 0 to 1000, found '-1'"),
        ("service history --tail 0", "cannot use --tail: expected a whole number of at least 1, found '0'"),
        (
            "supervise pause --id web --reason x --for 1hour",
            "cannot use --for: must be a duration, for example 30s, 1500ms or 2m",
        ),
        ("gc --dry-run", "cannot use --dry-run: conductor gc has no such option\n  did you mean --plan?"),
        ("help service", None),
    ],
)
def test_a_wrong_command_line(line: str, error: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    words = line.split(" ")
    assert run(words) == (125 if words[0] == "run" else 2)
    shown = capsys.readouterr().err
    if error is None:  # a group of commands is no topic
        assert shown.endswith(
            "\n  run conductor service --help for the command, or conductor help to list the topics\n"
        )
    else:
        assert shown == f"error: {error}\n"


def test_a_state_directory_that_only_root_can_read_is_no_wrong_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the default on every host, also for a command that only reports it."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    command = click.command()(state_dir_option(lambda **_: None))
    assert command.make_context("x", ["--state-dir", str(tmp_path)]).params == {"state_dir": tmp_path}
