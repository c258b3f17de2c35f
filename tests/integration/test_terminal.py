"""`conductor run -t` and `conductor console` at a real terminal, whose settings are restored however they end."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.host import TestHost
from tests.support.tasks import definition, discard, left, processes, tasks_of, volume
from tests.support.terminal import Terminal, children

RUN = ("run", "--id", "web", "-t", "-i")
SIZE_NOW = 'until [ "$(stty size)" = "{}" ]; do sleep 0.05; done; echo "size: {}"'
FULL_SCREEN = """
import curses
def main(screen):
    screen.timeout(500)  # curses misses a signal that comes just before it waits for a key
    while True:
        screen.erase()
        screen.addstr(0, 0, "EDITING %d %d" % screen.getmaxyx())
        screen.refresh()
        key = screen.getch()
        if key == ord("q"):
            return
        if key == curses.KEY_UP:
            screen.addstr(2, 0, "UPWARDS")
            screen.refresh()
            screen.getch()
curses.wrapper(main)
print("left the screen")
"""


@pytest.fixture(scope="module")
def shared(images: None) -> Iterator[TestHost]:
    with TestHost() as made:
        patient = definition(made, stop={"grace": "60s"})
        made.define({"web": definition(made, console=["sh"]), "patient": patient})
        made.upgrade("r1", check=True)
        yield made


@pytest.fixture
def host(shared: TestHost) -> Iterator[TestHost]:
    """`web` r1 is live. Each test leaves no task and no process behind."""
    yield shared
    shared.wait_for(lambda: not processes(shared), "the end of its processes", 5)
    rest = left(shared)
    discard(shared)
    assert rest == []


def unharmed(terminal: Terminal) -> None:
    assert terminal.settings() == terminal.before


def raw(host: TestHost, terminal: Terminal) -> None:
    host.wait_for(terminal.raw, "a raw terminal")
    terminal.until(b"ready")


def test_its_size_is_that_of_the_window(host: TestHost) -> None:
    with Terminal(
        host, *RUN, "sh", "-c", SIZE_NOW.format(*["31 97"] * 2) + "; " + SIZE_NOW.format(*["12 40"] * 2)
    ) as terminal:
        terminal.until(b"size: 31 97")
        terminal.resize(12, 40)
        terminal.until(b"size: 12 40")
        assert terminal.code() == 0
        unharmed(terminal)


def test_a_window_without_a_size(host: TestHost) -> None:
    with Terminal(host, *RUN, "sh", "-c", "tty; exit 3", size=(0, 0)) as terminal:
        terminal.until(b"/dev/pts/0")
        assert terminal.code() == 3
        unharmed(terminal)


def test_ctrl_c_reaches_the_task(host: TestHost) -> None:
    with Terminal(
        host, *RUN, "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    ) as terminal:
        raw(host, terminal)
        terminal.send(b"\x03")
        terminal.until(b"caught")
        assert terminal.code() == 9
        unharmed(terminal)


def test_ctrl_d_ends_a_console(host: TestHost) -> None:
    with Terminal(host, "console", "--id", "web") as terminal:
        terminal.until(b"sh in web r1 on ")
        terminal.until(b"# ")
        terminal.send(b"echo $((6*7)) $REVISION; exit_with() { return $1; }; exit_with 7\r")
        terminal.until(b"42 r1")
        (console,) = tasks_of(host, kind="console")
        assert console.revision == "r1"
        assert console.name.encode() in terminal.shown
        terminal.send(b"\x04")
        assert terminal.code() == 7
        unharmed(terminal)
    assert (host.history()[-1]["action"], host.history()[-1]["exit_code"]) == ("console", 7)


def test_a_console_of_another_revision_and_without_a_terminal(host: TestHost) -> None:
    (host.directory / "typed").write_text("echo $REVISION; exit 6\n")
    with (host.directory / "typed").open("rb") as stdin:
        result = host.spawn("console", "--id", "web", "--revision", "r3", stdin=stdin).wait(30)
    assert (result.code, result.stdout) == (6, "r3\n")
    assert result.stderr.startswith("sh in web r3 on ")


def test_exit_codes(host: TestHost) -> None:
    codes = (0, 1, 130, 255)
    terminals = [Terminal(host, *RUN, "sh", "-c", f"exit {code}") for code in codes]
    try:
        assert [terminal.code() for terminal in terminals] == list(codes)
        for terminal in terminals:
            unharmed(terminal)
    finally:
        for terminal in terminals:
            terminal.__exit__()


def test_a_command_that_is_not_there(host: TestHost) -> None:
    with Terminal(host, *RUN, "nosuch") as terminal:
        assert terminal.code() == 127
        terminal.until(b"error: cannot run nosuch: ")
        unharmed(terminal)


def test_a_full_screen_program(host: TestHost) -> None:
    with Terminal(host, *RUN, "-e", "TERM", "python3", "-c", FULL_SCREEN) as terminal:
        terminal.until(b"EDITING")
        terminal.until(b"31 97")
        terminal.send(b"\x1bOA")  # the arrow upwards, in the mode that full-screen programs ask for
        terminal.until(b"UPWARDS")
        terminal.send(b"x")
        terminal.resize(20, 60)
        terminal.until(b"20 60")
        terminal.send(b"q")
        terminal.until(b"left the screen")
        assert terminal.code() == 0
        unharmed(terminal)


STAYS = ("python3", "-c", "print('ready', flush=True); import time; time.sleep(60)")
POLITE = ("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")


def test_sigterm_of_conductor(host: TestHost) -> None:
    with Terminal(host, *RUN, *POLITE) as terminal:
        raw(host, terminal)
        terminal.signal(signal.SIGTERM)
        assert terminal.code() == 5
        unharmed(terminal)


def test_sighup_of_conductor(host: TestHost) -> None:
    with Terminal(host, *RUN, *STAYS) as terminal:
        raw(host, terminal)
        terminal.signal(signal.SIGHUP)
        assert terminal.code() == 137
        unharmed(terminal)
    assert host.history()[-1]["outcome"] == "hung-up"


def test_a_second_sighup_takes_no_grace_away(host: TestHost) -> None:
    go = volume(host) / "go"
    go.unlink(missing_ok=True)
    asked = "echo asked; until [ -e /volume/go ]; do sleep 0.05; done; exit 5"
    waits = f"trap '{asked}' TERM; echo ready; while :; do sleep 0.05; done"
    run = ("run", "--id", "patient", "--revision", "r1", "-t", "-i", "sh", "-c", waits)
    with Terminal(host, *run) as terminal:
        raw(host, terminal)
        terminal.signal(signal.SIGHUP)
        terminal.until(b"asked")
        for _ in range(2):
            terminal.signal(signal.SIGHUP)
        time.sleep(0.5)  # for a kill, which would be wrong
        go.touch()
        assert terminal.code() == 5
        unharmed(terminal)


def test_kill_9_of_the_task(host: TestHost) -> None:
    with Terminal(host, *RUN, *STAYS) as terminal:
        raw(host, terminal)
        (task,) = tasks_of(host)
        host.daemon.api.kill(task.id)
        assert terminal.code() == 137
        unharmed(terminal)


def test_kill_9_of_conductor(host: TestHost) -> None:
    """The guardian process restores the terminal, and exits."""
    with Terminal(host, *RUN, *STAYS) as terminal:
        raw(host, terminal)
        assert len(children(Path("/proc"), terminal.pid)) == 1
        terminal.signal(signal.SIGKILL)
        assert terminal.code() == 137
        host.wait_for(lambda: terminal.settings() == terminal.before, "the settings of before", 5)
        host.wait_for(lambda: not processes(host), "the end of its processes", 5)
        (task,) = tasks_of(host)
        assert task.state == "running"
    discard(host)


def test_kill_9_of_the_guardian(host: TestHost) -> None:
    with Terminal(host, *RUN, *POLITE) as terminal:
        raw(host, terminal)
        (guardian,) = children(Path("/proc"), terminal.pid)
        os.kill(guardian, signal.SIGKILL)
        terminal.signal(signal.SIGTERM)
        assert terminal.code() == 5
        unharmed(terminal)


@pytest.mark.parametrize(("command", "code"), [(POLITE, 5), (STAYS, 137)], ids=["a polite task", "a deaf task"])
def test_a_terminal_that_vanishes(host: TestHost, command: tuple[str, ...], code: int) -> None:
    """The task receives its stop signal, and SIGKILL after its grace."""
    with Terminal(host, *RUN, *command) as terminal:
        raw(host, terminal)
        terminal.vanish()
        assert terminal.code() == code
    assert host.history()[-1]["outcome"] == "hung-up"
