"""The manual's page of screens: commands that are typed into an 80-column terminal on a host, and what they print.

The page is compared with what is printed now, except for numbers that differ in each run. With CONDUCTOR_RECORD=1, the page
is written instead.
"""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.support.cookbook import converge, service
from tests.support.host_image import Release
from tests.support.machine import Machine
from tests.support.site import Site, load_app

PAGE = ROOT / "conductor" / "manual" / "screens.md"
HEAD = """\
# Example output

What the most important commands print.

A test recorded this output in an 80-column terminal; lines that the terminal wrapped
are joined here. The test fails if a command's output changes, except for values that
differ in each run, such as times, sizes and ids. There are two services behind nginx:
`shop` with two replicas and `api` with one. Revision r9 of `api` exits when it starts.
"""
COMMANDS = {
    "An upgrade": "conductor service upgrade --id shop --revision r2",
    "An upgrade that fails": "conductor service upgrade --id api --revision r9",
    "A rollback": "conductor service rollback --id shop",
    "The status": "conductor service status",
    "The history": "conductor service history",
    "conductor doctor": "conductor doctor",
}
PORTS = {"shop": 8081, "api": 8082}
SERVICES = {
    "shop": service("shop", PORTS["shop"]),
    "api": service("api", PORTS["api"], count=1, env={"FAULT_r9": "exit"}),
}
PROMPT = "# "
COMMAND_SECONDS = 60.0
VARIABLE = (  # what differs in each run, or between releases of Debian
    (r"\bnginx 1\.\d+\.\d+", "nginx 1.0.0"),
    (r"\b[0-9a-f]{8}\b", "0" * 8),
    (r"\b20\d\d-\d\d-\d\dT[0-9:.]+Z", "2026-01-31T08:00:00Z"),
    (r"\b10\.213\.\d+\.\d+", "10.213.0.2"),
    (r"\b\d+(\.\d+)?( of \d+(\.\d+)?)? ?(KiB|MiB|GiB)\b", "1 MiB"),
    (r"\b(\d+d)?(\d+h)?(\d+m)?\d+(\.\d+)?s\b|\b(\d+[dhm])+\b", "1s"),
    (r"\b(pull|start|gate|cutover|drain|retire) 1s", "start 1s"),  # the steps that took longest
    (r"×\d+", "×1"),
    (r"\n\w+  (docker-disk|state-disk|image-room)  .*\n(    .*\n)+", ""),  # not for lack of room on this machine
    (r"\d+ errors?, \d+ warnings?; \d+ checks", "0 errors, 0 warnings; 1 checks"),
    (r"[ \t]+", " "),
    (r"-{3,}", "---"),
)


class Terminal:
    """A shell on a machine, in a terminal of tmux."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self._tmux = ["tmux", "-S", str(directory / "tmux"), "-f", "/dev/null"]
        words = machine.words("env", f"PS1={PROMPT}", "TERM=screen", "sh", stdin=True)
        words.insert(words.index("-i") + 1, "-t")
        self._run("new-session", "-d", "-x", "80", "-y", "200", shlex.join(words))
        self._commands = 0
        self._wait_for(lambda lines: lines[-1:] == [PROMPT.rstrip()])

    def run(self, command: str) -> str:
        """Type a command; return what the terminal shows when it has ended."""
        self._commands += 1
        end = f"END{self._commands}"  # a line of its own, which no earlier screen has
        self._run("send-keys", "-l", f"clear; {command}; echo {end}")
        self._run("send-keys", "Enter")
        lines = self._wait_for(lambda lines: end in lines)
        return "\n".join(lines[: lines.index(end)])

    def _wait_for(self, condition: Callable[[list[str]], bool]) -> list[str]:
        until = time.monotonic() + COMMAND_SECONDS
        while not condition(lines := self._lines()):
            assert time.monotonic() < until, lines
            time.sleep(0.1)
        return lines

    def _lines(self) -> list[str]:
        return self._run("capture-pane", "-p", "-J").rstrip().split("\n")

    def _run(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout

    def end(self) -> None:
        """End tmux and the shell."""
        self._run("kill-server")


@pytest.fixture(scope="module")
def module_site(images: None, release: Release) -> Iterator[Site]:
    """r1 and then r3 have been deployed."""
    with Machine("web1", release=release) as machine:
        load_app(machine)
        converge(machine, SERVICES)
        site = Site(machine, PORTS)
        for revision in ("r1", "r3"):
            site.upgrade(revision, *PORTS)
        yield site


def test_the_page_equals_the_output_of_the_commands(site: Site, tmp_path: Path) -> None:
    terminal = Terminal(site.machine, tmp_path)
    try:
        parts = []
        for title, command in COMMANDS.items():
            # After a change, supervise makes checks of its own.
            site.machine.wait_for(
                lambda: site.conductor("service", "list").stdout.count(" ok\n") == len(PORTS), "both services to be ok"
            )
            parts.append(f"## {title}\n\n```console\n$ {command}\n{terminal.run(command)}\n```\n")
    finally:
        terminal.end()
    page = "\n".join([HEAD, *parts])
    if os.environ.get("CONDUCTOR_RECORD"):
        PAGE.write_text(page)
    assert constant(PAGE.read_text()) == constant(page)


def constant(page: str) -> list[str]:
    """Return the lines of a page without what differs in each run."""
    for pattern, text in VARIABLE:
        page = re.sub(pattern, text, page)
    return page.split("\n")
