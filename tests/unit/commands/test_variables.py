"""The variables of options: their names, which options have none, and the page of the manual about them."""

import re
from collections.abc import Iterator

import click
import pytest

from conductor.cli import conductor, run
from conductor.commands.help import pages
from conductor.commands.variables import CommandLineOnly
from conductor.errors import UsageError

SHARED = {"--config": "CONDUCTOR_CONFIG", "--state-dir": "CONDUCTOR_STATE_DIR", "--verbose": "CONDUCTOR_VERBOSE", "--quiet": "CONDUCTOR_QUIET"}  # fmt: skip


def options(
    command: click.Command = conductor, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Option]]:
    """All options of all commands, with the words of their command."""
    for param in command.params:
        if isinstance(param, click.Option) and param.name != "version":
            yield path, param
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from options(inner, (*path, name))


ALL = list(options())


def written(option: click.Option) -> str:
    return max(option.opts, key=len)


def test_every_option_has_the_variable_that_the_rule_names() -> None:
    assert len(ALL) > 100
    for path, option in ALL:
        own = "_".join(("CONDUCTOR", *path, written(option)[2:])).replace("-", "_").upper()
        assert option.envvar == SHARED.get(written(option), own)


def test_the_names_differ() -> None:
    own = [option.envvar for _, option in ALL if option.envvar not in SHARED.values()]
    assert len(own) == len(set(map(str, own)))


def test_the_manual_lists_the_options_that_are_accepted_only_on_the_command_line() -> None:
    text = (
        re.sub(r"\s+", " ", pages()["shell"])
        .partition("Options that determine what a command does")[2]
        .partition(". If")[0]
    )
    assert set(re.findall(r"`(--[\w-]+)`", text)) == {
        written(one) for _, one in ALL if isinstance(one, CommandLineOnly)
    }
    general, of_run = (set(re.findall(r"`(--[\w-]+)`", part)) for part in text.split("and for `run` also"))
    assert {path for path, one in ALL if written(one) in of_run and isinstance(one, CommandLineOnly)} == {("run",)}
    assert {written(one) for _, one in ALL if written(one) in general and not isinstance(one, CommandLineOnly)} == set()


def test_a_variable_replaces_an_option_that_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    option = click.Option(["--wait"], envvar="CONDUCTOR_X_WAIT")
    monkeypatch.setenv("CONDUCTOR_X_WAIT", "5m")
    for words, value in (([], "5m"), (["--wait", "1m"], "1m")):
        assert click.Command("x", params=[option]).make_context("x", words).params == {"wait": value}


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CONDUCTOR_SERVICE_UPGRADE_REVISION", "r1", ["service", "upgrade", "--id", "web"]),
        ("CONDUCTOR_SERVICE_UPGRADE_ID", "web", ["service", "upgrade", "--revision", "r1"]),
        ("CONDUCTOR_SERVICE_UPGRADE_FORCE", "0", ["service", "upgrade", "--id", "web", "--revision", "r1"]),
        ("CONDUCTOR_SERVICE_STOP_ID", "web", ["service", "stop"]),
        ("CONDUCTOR_SERVICE_SCALE_COUNT", "0", ["service", "scale", "--id", "web"]),
        ("CONDUCTOR_RUN_REVISION", "r1", ["run", "--id", "web", "true"]),
        ("CONDUCTOR_RUN_ENV", "A=b", ["run", "--id", "web", "true"]),
        ("CONDUCTOR_SUPERVISE_ONCE", "1", ["supervise"]),
        ("CONDUCTOR_GC_PLAN", "1", ["gc"]),
    ],
)
def test_a_variable_of_an_option_that_says_what_is_done_is_refused(
    variable: str, value: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("CONDUCTOR_CONFIG", "/nonexistent")
    assert run(words) == (125 if words[0] == "run" else 2)
    error = capsys.readouterr().err
    assert error.startswith(f"error: cannot use the variable {variable}: --")
    assert f"unset {variable}" in error


def test_such_a_variable_has_no_effect_beside_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    option = CommandLineOnly(["--revision"], envvar="CONDUCTOR_X_REVISION")
    monkeypatch.setenv("CONDUCTOR_X_REVISION", "r1")
    context = click.Command("x", params=[option]).make_context("x", ["--revision", "r2"])
    assert context.params == {"revision": "r2"}
    with pytest.raises(UsageError):
        click.Command("x", params=[option]).make_context("x", [])


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUCTOR_X_FORCE", "")
    option = CommandLineOnly(["--force"], is_flag=True, envvar="CONDUCTOR_X_FORCE")
    assert click.Command("x", params=[option]).make_context("x", []).params == {"force": False}


def test_an_invalid_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONDUCTOR_SERVICE_HISTORY_SINCE", "yesterday")
    assert run(["service", "history"]) == 2
    assert "  the value comes from the variable CONDUCTOR_SERVICE_HISTORY_SINCE\n" in capsys.readouterr().err
    assert run(["service", "history", "--since", "yesterday"]) == 2
    assert "variable" not in capsys.readouterr().err
