"""Completion: what is offered for each word, from files and from a daemon that answers, hangs or does not exist."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from conductor.cli import conductor, run
from conductor.commands import candidates
from conductor.commands.completion import SHELLS, VARIABLE
from conductor.commands.help import pages
from conductor.definitions.host import Host
from conductor.plan.log import KeptLog
from conductor.plan.release import Release, Wanted
from conductor.state.last_definitions import LastDefinitions, write_last_definitions
from conductor.state.store import Store
from tests.unit.runtime.docker.test_attach import daemon as answering
from tests.unit.runtime.docker.test_attach import response

IMAGES = [
    {"Id": "", "ParentId": "", "Size": 1, "Created": 1, "RepoTags": ["shop:old", "another:tag"]},
    {"Id": "", "ParentId": "", "Size": 1, "Created": 3, "RepoTags": ["shop:new", "registry/shop:else"]},
    {"Id": "", "ParentId": "", "Size": 1, "Created": 2, "RepoTags": None},
]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    (tmp_path / "services.yml").write_text(
        f"version: 1\nhost: {{state_dir: {tmp_path}/state, docker: 'unix://{tmp_path}/docker'}}\nservices:\n"
        "  web: {image: shop, health: {none: true}}\n  api: {image: shop, unknown: 1}\n"
    )
    monkeypatch.setenv("CONDUCTOR_CONFIG", str(tmp_path / "services.yml"))
    monkeypatch.setenv("CONDUCTOR_STATE_DIR", str(tmp_path / "none"))
    made = Store(tmp_path / "state")
    made.write_wanted(Wanted(service="web", release=release("r3"), kept=(release("r2"), release("r1"))))
    made.write_wanted(Wanted(service="gone"))
    made.keep_log("web", KeptLog(container="web-r0", revision="r0", kind="service", lines=()))
    made.keep_log("web", KeptLog(container="web-r9", revision="r9", kind="hook", lines=()))
    return made


def release(revision: str) -> Release:
    return Release(id=revision, service="web", revision=revision, image="", image_id="", digest="", definition={})


def offered(line: str) -> list[str]:
    """What is offered for the last word, which ends where the line ends."""
    *words, incomplete = line.split(" ")
    return [
        item.value for item in ShellComplete(conductor, {}, "conductor", VARIABLE).get_completions(words, incomplete)
    ]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A daemon that answers one request with IMAGES, and has more time for it on a busy machine; yields the request."""
    monkeypatch.setattr(candidates, "DOCKER_SECONDS", 5)
    with answering(tmp_path / "docker", response(200, json.dumps(IMAGES))) as requests:
        yield requests


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("service upg", ["upgrade"]),
        ("service upgrade --id ", ["web", "api", "gone"]),
        ("service upgrade --id=w", ["web"]),
        ("service upgrade --id web --id ", ["api", "gone"]),
        ("config show --id a", ["api"]),
        ("config export --to ", ["compose", "kubernetes", "quadlet"]),
        ("service rollback --id web --to ", ["r2", "r1"]),
        ("service rollback --to ", []),
        ("service upgrade --id web --revision ", ["r3", "r2", "r1"]),
        ("run --id web --revision r2", ["r2"]),
        ("run --id web --ti", ["--timeout"]),
        ("run --id web ls --ti", []),
        ("run --id web ls ", []),
        ("service logs --id web --release ", ["r3", "r2", "r1", "r0"]),
        ("supervise pause --id g", ["gone"]),
        ("help ", list(pages())),
        ("completion ", list(SHELLS)),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    assert offered(line) == words


def test_all_options_of_a_command_are_offered() -> None:
    command = conductor.get_command(click.Context(conductor), "run")
    assert command is not None
    assert set(offered("run --")) == {opt for one in command.params for opt in one.opts if opt.startswith("--")} | {
        "--help"
    }


def test_every_id_and_revision_is_completed() -> None:
    def completes(command: click.Command) -> Iterator[tuple[str | None, str, bool]]:
        for param in command.params:
            for opt in {"--id", "--revision", "--to", "--release"}.intersection(param.opts):
                is_completed = param._custom_shell_complete is not None or isinstance(param.type, click.Choice)
                yield command.name, opt, is_completed
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                inner = command.get_command(click.Context(command), name)
                assert inner is not None
                yield from completes(inner)

    found = list(completes(conductor))
    assert len(found) > 20
    assert [one for one in found if not one[2]] == []


def test_tags_of_local_images_are_offered_the_newest_first(daemon: list[bytes]) -> None:
    assert offered("service upgrade --id web --revision ") == ["r3", "r2", "r1", "new", "old"]
    assert b"GET /v1.41/images/json?filters=%7B%22reference%22%3A%20%5B%22shop%22%5D%7D HTTP/1.1" in daemon[0]


def test_a_daemon_that_hangs_does_not_delay_the_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "docker"))
        silent.listen()
        began = time.monotonic()
        assert offered("service upgrade --id web --revision ") == ["r3", "r2", "r1"]
        assert time.monotonic() - began < 20  # other calls have 60 s


def test_the_last_valid_definitions_are_used_when_the_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(state_dir=str(tmp_path / "state"), docker=f"unix://{tmp_path}/docker")
    write_last_definitions(LastDefinitions(host=host, services=("before",), deployed=("web", "gone")))
    monkeypatch.setenv("CONDUCTOR_STATE_DIR", host.state_dir)
    (tmp_path / "services.yml").write_text("services: [")
    assert offered("service upgrade --id ") == ["before", "gone", "web"]
    assert offered("service rollback --id web --to ") == ["r2", "r1"]


def test_damaged_files_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "state/services/web.json").write_text("{")
    (tmp_path / "state/logs/web/web-r0.log").write_text('{"version": 99, "revision": "x", "kind": "service"}\n')
    assert offered("service rollback --id web --to ") == []
    assert offered("service logs --id web --release ") == []


@pytest.mark.parametrize("line", ["service restart --id ", "service upgrade --id web --revision "])
def test_without_any_file_nothing_is_offered(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUCTOR_CONFIG", "/nonexistent")
    assert offered(line) == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_that_of_click(shell: str) -> None:
    result = CliRunner().invoke(conductor, ["completion", shell])
    assert result.exit_code == 0
    assert f"{VARIABLE}={shell}_complete" in result.stdout


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError(5, "x"), click.UsageError("x")])
def test_a_failure_prints_nothing(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    root = click.Group("conductor", params=[click.Option(["--id"], shell_complete=fail)])
    for name, value in {VARIABLE: "bash_complete", "COMP_WORDS": "conductor --id ", "COMP_CWORD": "2"}.items():
        monkeypatch.setenv(name, value)
    assert run([], root=root) == 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("line", ["conductor service ", "conductor service upgrade --id web --revision "])
def test_nothing_heavy_is_imported(line: str) -> None:
    code = (
        "import os, sys; os._exit = sys.exit; sys.argv = ['conductor']\n"
        "from conductor.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    environment = {**os.environ, VARIABLE: "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip()
    assert set(done.stderr.split()) & {"docker", "jinja2", "requests", "ssl", "email", "asyncio", "subprocess"} == set()
    if "--id" not in line:
        assert set(done.stderr.split()) & {"yaml", "msgspec"} == set()


def test_docker_has_less_than_half_of_the_100_ms_in_which_completions_appear() -> None:
    assert candidates.DOCKER_SECONDS < 0.05
