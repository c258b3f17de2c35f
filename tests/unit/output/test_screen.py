"""Lines that are redrawn in place, as a terminal gets them."""

import io
import os
import pty
import select
import termios

import pytest

from conductor.output.screen import Screen, fitted, terminal_size


def size(columns: int, lines: int) -> os.terminal_size:
    return os.terminal_size((columns, lines))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["short", "", "two\nlines"], ["short", "", "two", "lines"]),
        (["  run conductor service start --id web"], ["  run conductor", "    service start", "    --id web"]),
        (["x" * 21], ["x" * 19, "  xx"]),
        (["\x1b[31mred"], ["\\u001b[31mred"]),
    ],
)
def test_lines_are_wrapped_to_the_width(lines: list[str], expected: list[str]) -> None:
    assert fitted(lines, size(20, 24)) == expected


def test_lines_without_room_are_counted() -> None:
    assert fitted(["a", "b", "c", "d"], size(40, 5)) == ["a", "b", "c", "d"]
    assert fitted(["a", "b", "c", "d"], size(40, 4)) == ["a", "b", "… 2 more lines do not fit"]


def test_each_drawing_goes_over_the_one_before() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    assert screen.draw(["one", "two"])
    assert screen.draw(["three"])
    screen.end()
    first, second = "one\x1b[K\ntwo\x1b[K\n", "three\x1b[K\n"
    assert stream.getvalue() == f"\r{first}\x1b[J\r\x1b[2A{second}\x1b[J\r\x1b[K"


def test_a_terminal_that_changes_its_size_is_cleared() -> None:
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", buffering=0) as reader, os.fdopen(slave, "w", encoding="utf-8") as stream:
        termios.tcsetwinsize(slave, (10, 40))
        screen = Screen(stream)
        assert screen.width == 39
        screen.draw(["one"])
        termios.tcsetwinsize(slave, (10, 30))
        screen.draw(["two"])
        screen.draw(["three"])
        shown = b""
        while shown.count(b"\x1b[J") < 3:  # the end of each drawing
            assert select.select([reader], [], [], 10)[0], shown
            shown += reader.read(200)
    assert shown == (b"\rone\x1b[K\r\n\x1b[J" + b"\x1b[H\x1b[2Jtwo\x1b[K\r\n\x1b[J" + b"\r\x1b[1Athree\x1b[K\r\n\x1b[J")


def test_a_terminal_that_is_gone() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    stream.close()
    assert not screen.draw(["one"])


def test_a_file_or_pipe_has_the_default_size() -> None:
    assert terminal_size(io.StringIO()) == size(80, 24)
