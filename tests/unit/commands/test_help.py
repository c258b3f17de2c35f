"""`conductor help`, and the manual itself: every page has a summary, and what a page names exists."""

import contextlib
import os
import pty
import re
import shlex
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner, Result

from conductor.cli import conductor
from conductor.commands.help import command, pages, summary
from conductor.errors import UsageError
from tests.support.commands import ROOT

TOPICS = tuple(pages())
README = (ROOT / "README.md").read_text()
TEXTS = {"README.md": README, **{f"conductor/manual/{topic}.md": text for topic, text in pages().items()}}
LONGEST_README = 150
COLUMNS = 80


def run(*words: str) -> Result:
    return CliRunner().invoke(command, list(words))


def test_without_a_topic_it_lists_all_of_them_with_their_summaries() -> None:
    listed = [line for line in run().stdout.splitlines() if line.startswith("  ")]
    assert [tuple(line.split(maxsplit=1)) for line in listed] == [(t, summary(text)) for t, text in pages().items()]
    assert all(len(line) <= COLUMNS for line in listed)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_prints_its_page(topic: str) -> None:
    result = run(topic)
    assert (result.exit_code, result.stdout) == (0, (ROOT / f"conductor/manual/{topic}.md").read_text())


@pytest.mark.parametrize(
    ("topic", "hint"),
    [("ngnix", "run conductor help nginx"), ("deploy", "run conductor help deploys"), ("x", "run conductor help to list the topics")],
)  # fmt: skip
def test_an_unknown_topic_is_wrong_usage_and_names_the_nearest_one(topic: str, hint: str) -> None:
    error = run(topic).exception
    assert isinstance(error, UsageError)
    assert (error.code, error.hint) == (2, hint)


def test_on_a_terminal_a_page_goes_through_the_pager() -> None:
    master, slave = pty.openpty()
    words = [sys.executable, "-m", "conductor", "help", "security"]
    environment = {**os.environ, "PAGER": "sed s/^/paged:/", "TERM": "xterm"}
    with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        shown = os.read(master, 100)
        with contextlib.suppress(OSError):  # the end of a terminal whose last writer has exited
            while os.read(master, 4096):
                pass
    os.close(master)
    assert process.returncode == 0
    assert shown.startswith(b"paged:# Security")


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_has_a_title_and_a_summary_of_one_line(topic: str) -> None:
    title, blank, said, after, *_ = pages()[topic].split("\n")
    assert title.startswith("# ")
    assert (blank, after) == ("", "")
    assert said.endswith(".")


def test_the_readme_is_short_and_links_every_page() -> None:
    assert len(README.splitlines()) <= LONGEST_README
    assert set(re.findall(r"\(conductor/manual/(\w+)\.md\)", README)) == set(TOPICS)


@pytest.mark.parametrize("name", TEXTS)
def test_links_and_paths_lead_somewhere(name: str) -> None:
    directory = (ROOT / name).parent
    links = [directory / link for link in re.findall(r"\]\(([^)#:]+)\)", TEXTS[name])]
    paths = [ROOT / path for path in re.findall(r"\b(?:tests|examples|chef_templates)/[\w/.]*\w", TEXTS[name])]
    assert [path for path in (*links, *paths) if not path.exists()] == []


@pytest.mark.parametrize("name", TEXTS)
def test_commands_exist_with_their_options(name: str) -> None:
    blocks = re.findall(r"^```(?:\w*)\n(.*?)^```$", TEXTS[name], re.MULTILINE | re.DOTALL)
    calls = [line for block in blocks for line in re.findall(r"^(?:\$ )?conductor (.*)$", block, re.MULTILINE)]
    for call in calls:
        known(shlex.split(call, comments=True))


def known(words: list[str]) -> None:
    """A `UsageError` of click's, or an assertion, for a call that click would refuse."""
    found: click.Command = conductor
    context = click.Context(conductor)
    while words and isinstance(found, click.Group) and re.fullmatch("[a-z]+", words[0]):
        names, words = alternatives(words)
        for name in names:
            child = found.get_command(context, name)
            assert child is not None, f"{found.name} has no command {name}"
        found = child
    options = {option for param in found.params for option in param.opts}
    used = {word.strip("[]") for word in words if word.strip("[").startswith("-")}
    assert used <= {*options, "--help"}, f"{found.name}: {used - options}"


def alternatives(words: list[str]) -> tuple[list[str], list[str]]:
    """`install | show --id ID`: both names, and what follows the last one."""
    names, words = [words[0]], words[1:]
    while words[:1] == ["|"]:
        names, words = [*names, words[1]], words[2:]
    return names, words
