"""Completion in real shells: bash, zsh and fish in a terminal, where keys are typed and the screen is read.

Docker is a socket that answers as a daemon with one local image, so that these tests need neither Docker nor root.
"""

import contextlib
import json
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conductor.plan.log import KeptLog
from conductor.plan.release import Release, Wanted
from conductor.state.store import Store
from tests.support.commands import ROOT

DEFINITIONS = """\
version: 1
host: {{state_dir: {state}, docker: "unix://{docker}"}}
services:
  web: {{image: registry.example.com/web, port: 80, health: {{none: true}}}}
  worker: {{image: registry.example.com/worker, health: {{none: true}}}}
"""
IMAGES = [
    {
        "Id": "sha256:1",
        "ParentId": "",
        "Size": 1,
        "Created": 1,
        "RepoTags": ["registry.example.com/web:third", "registry.example.com/web:built-here"],
    },
    {"Id": "sha256:2", "ParentId": "", "Size": 1, "Created": 2, "RepoTags": None},
]
TIMEOUT = 20
# `python -m conductor`, which waits longer for Docker: on a busy machine the thread that answers may get no CPU for 25 ms.
COMMAND = (
    "from conductor.commands import candidates; candidates.DOCKER_SECONDS = 5; "
    "from conductor.__main__ import main; main()"
)
FILES = {  # where each shell finds a completion script of the user, and the file that it reads at its start
    "bash": (".local/share/bash-completion/completions/conductor", ".bashrc"),
    "zsh": ("functions/_conductor", ".zshrc"),
    "fish": (".config/fish/completions/conductor.fish", ".config/fish/config.fish"),
}
START = {
    "bash": ". /usr/share/bash-completion/bash_completion\nPS1='> '\n",
    "zsh": "fpath=(~/functions $fpath)\nautoload -U compinit && compinit -u -D\nPS1='> '\n",
    "fish": "function fish_prompt; echo '> '; end\nset -g fish_greeting\nset -g fish_autosuggestion_enabled 0\n",
}
SHELLS = {"bash": ["bash"], "zsh": ["zsh", "-i"], "fish": ["fish"]}
TABS = {"bash": ["Tab", "Tab"], "zsh": ["Tab"], "fish": ["Tab"]}  # bash lists what is ambiguous at the second one


@pytest.fixture(scope="session", autouse=True)
def real_parts() -> None:
    """Replace the fixture that requires Docker and nginx."""


class Shell:
    """One shell in a terminal of tmux."""

    def __init__(self, name: str, home: Path, environment: dict[str, str]) -> None:
        self.name = name
        self._tmux = ["tmux", "-S", str(home / "tmux"), "-f", "/dev/null"]
        env = ["env", "-i", *(f"{key}={value}" for key, value in environment.items())]
        self._run("new-session", "-d", "-x", "150", "-y", "50", shlex.join([*env, *SHELLS[name]]))

    def complete(self, text: str, *keys: str) -> None:
        """Type a text and press Tab, in a shell that has just started."""
        self._run("respawn-pane", "-k")
        self.until(lambda lines: lines == [">"], "its prompt")
        self.type(text)
        self.until(lambda lines: lines == [f"> {text}".rstrip()], "the text")
        self._keys(*(keys or TABS[self.name]))

    def type(self, text: str) -> None:
        """Type a text."""
        self._run("send-keys", "-l", text)

    def offered(self, *words: str) -> list[str]:
        """Wait until the shell lists these words below the line; return all words that it lists."""
        found = self.until(lambda lines: set(words) <= set(" ".join(lines[1:]).split()), f"{words}")
        return " ".join(found[1:]).split()

    def line(self, text: str) -> None:
        """Wait until the line is this, with nothing below."""
        self.until(lambda lines: lines == [f"> {text}"], text)

    def until(self, true: Callable[[list[str]], bool], what: str) -> list[str]:
        """Wait until the lines on the screen are as wanted; return them."""
        until = time.monotonic() + TIMEOUT
        while not true(lines := self.screen()):
            assert time.monotonic() < until, f"{self.name}: waited {TIMEOUT} s for {what}; the screen: {lines}"
            time.sleep(0.05)
        return lines

    def screen(self) -> list[str]:
        """Return the lines that are not empty. bash prints the line again below its list: such a repetition is left out."""
        shown = self._run("capture-pane", "-p").splitlines()
        lines = [line.rstrip() for line in shown if line.strip()]
        return [line for number, line in enumerate(lines) if number == 0 or not line.startswith("> conductor")]

    def _keys(self, *keys: str) -> None:
        for key in keys:
            self._run("send-keys", key)

    def _run(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout

    def end(self) -> None:
        """End tmux with the shell."""
        self._run("kill-server")


@contextlib.contextmanager
def daemon(path: Path) -> Iterator[None]:
    """Answer each request with the list of images."""
    body = json.dumps(IMAGES).encode()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    connection = listening.accept()[0]
                except OSError:  # closed
                    return
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

        threading.Thread(target=serve, daemon=True).start()
        yield
        listening.shutdown(socket.SHUT_RDWR)


def release(revision: str) -> Release:
    return Release(
        id=revision, service="web", revision=revision, image="", image_id="", digest="", definition={"image": "x"}
    )


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    home = tmp_path_factory.mktemp("home")
    store = Store(home / "state")
    store.write_wanted(Wanted(service="web", release=release("third"), kept=(release("second"), release("first"))))
    store.write_wanted(Wanted(service="removed"))
    store.keep_log("web", KeptLog(container="web-removed-1-1", revision="logged", kind="service", lines=()))
    config = home / "services.yml"
    config.write_text(DEFINITIONS.format(state=store.directory, docker=home / "docker"))
    script, start = (home / name for name in FILES[request.param])
    for path in (script, start, home / "bin/conductor"):
        path.parent.mkdir(parents=True, exist_ok=True)
    start.write_text(START[request.param])
    command = [sys.executable, "-c", COMMAND]
    (home / "bin/conductor").write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    (home / "bin/conductor").chmod(0o755)
    printed = subprocess.run([*command, "completion", request.param], check=True, capture_output=True, cwd=ROOT)
    script.write_bytes(printed.stdout)
    environment = {
        "HOME": str(home), "PATH": f"{home}/bin:/usr/bin:/bin", "TERM": "screen", "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT), "CONDUCTOR_CONFIG": str(config), "CONDUCTOR_STATE_DIR": str(home / "none"),
    }  # fmt: skip
    with daemon(home / "docker"):
        made = Shell(request.param, home, environment)
        try:
            yield made
        finally:
            made.end()


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("conductor serv", "conductor service"),
        ("conductor service upg", "conductor service upgrade"),
        ("conductor service upgrade --id web --sk", "conductor service upgrade --id web --skip-hooks"),
        ("conductor service status --id we", "conductor service status --id web"),
        ("conductor --verbose service stop --id wo", "conductor --verbose service stop --id worker"),
        ("conductor service upgrade --id web --id w", "conductor service upgrade --id web --id worker"),
        (
            "conductor service upgrade --id web --revision bu",
            "conductor service upgrade --id web --revision built-here",
        ),
        ("conductor help tro", "conductor help troubleshooting"),
    ],
)
def test_the_only_possible_word_is_completed(shell: Shell, typed: str, line: str) -> None:
    shell.complete(typed, "Tab")
    shell.line(line)


@pytest.mark.parametrize(
    ("typed", "offered", "absent"),
    [
        ("conductor ", {"service", "run", "doctor", "completion"}, {"upgrade"}),
        ("conductor service upgrade --", {"--id", "--revision", "--verbose"}, {"--reset"}),
        ("conductor service restart --id ", {"web", "worker", "removed"}, set()),
        ("conductor service rollback --id web --to ", {"first", "second"}, {"logged", "third", "built-here"}),
        ("conductor service upgrade --id web --revision ", {"first", "second", "third", "built-here"}, {"logged"}),
        ("conductor service logs --id web --release ", {"first", "second", "third", "logged"}, {"built-here"}),
        ("conductor help ", {"nginx", "deploys", "shell"}, {"worker"}),
        ("conductor completion ", {"bash", "zsh", "fish"}, {"web"}),
    ],
)
def test_all_possible_words_are_listed(shell: Shell, typed: str, offered: set[str], absent: set[str]) -> None:
    shell.complete(typed)
    assert not absent & set(shell.offered(*offered))


@pytest.mark.parametrize("text", ["services: [", None], ids=["damaged", "missing"])
def test_a_failure_prints_nothing(shell: Shell, tmp_path: Path, text: str | None) -> None:
    """The keys typed after Tab appear once the completion has ended."""
    path = tmp_path / "services.yml"
    if text is not None:
        path.write_text(text)
    typed = f"conductor service restart --config {path} --id "
    shell.complete(typed, "Tab")
    shell.type("after")
    shell.line(f"{typed}after")
