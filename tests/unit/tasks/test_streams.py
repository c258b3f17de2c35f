"""Bytes between a task and the caller: frames in pieces, closed pipes, ends."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.tasks.streams import Sink, pump_output


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def pumped(raw: bytes, directory: Path, *, framed: bool, cut: int = 0) -> tuple[bytes, bytes, bytes]:
    """Return stdout, stderr and what was kept, of bytes that arrive in pieces of `cut`."""
    ours, theirs = socket.socketpair()
    kept: list[bytes] = []
    pieces = [raw[at : at + cut] for at in range(0, len(raw), cut)] if cut else [raw]

    def send() -> None:
        with theirs:
            for piece in pieces:
                theirs.sendall(piece)

    sending = threading.Thread(target=send)
    sending.start()
    with ours, (directory / "out").open("wb") as out, (directory / "err").open("wb") as err:
        pump_output(ours, Sink(out.fileno(), kept.append), Sink(err.fileno(), kept.append), framed=framed)
    sending.join()
    return (directory / "out").read_bytes(), (directory / "err").read_bytes(), b"".join(kept)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streams")


@settings(max_examples=60, deadline=None)
@given(frames=st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=300))), cut=st.integers(1, 40))
def test_frames_are_separated_however_they_arrive(directory: Path, frames: list[tuple[int, bytes]], cut: int) -> None:
    raw = b"".join(frame(stream, data) for stream, data in frames)
    out, err, kept = pumped(raw, directory, framed=True, cut=cut)
    assert out == b"".join(data for stream, data in frames if stream == 1)
    assert err == b"".join(data for stream, data in frames if stream == 2)
    assert kept == b"".join(data for _, data in frames)


def test_a_terminal_has_no_frames(directory: Path) -> None:
    raw = bytes(range(256)) * 1000
    assert pumped(raw, directory, framed=False, cut=999) == (raw, b"", raw)


def test_a_stream_that_ends_inside_a_frame(directory: Path) -> None:
    assert pumped(frame(1, b"whole") + frame(1, b"cut off")[:-3], directory, framed=True)[0] == b"wholecut "
    assert pumped(frame(1, b"whole") + b"\1\0\0", directory, framed=True)[0] == b"whole"


def test_a_closed_pipe_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    kept: list[bytes] = []
    sink = Sink(writing, kept.append)
    for piece in (b"a" * 10, b"b" * 10):
        sink.write(piece)
    os.close(writing)
    assert kept == [b"a" * 10, b"b" * 10]


def test_a_full_disk_is_reported_once(capfd: pytest.CaptureFixture[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        sink = Sink(full.fileno(), lambda _: None)
        sink.write(b"a")
        sink.write(b"b")
    warning = "warning: cannot write the task's output: No space left on device; the rest is dropped\n"
    assert capfd.readouterr().err == warning


@pytest.fixture
def full_pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    yield reading, writing
    os.close(reading)


def test_a_non_blocking_stream_is_waited_for(full_pipe: tuple[int, int]) -> None:
    reading, writing = full_pipe
    data = bytes(range(256)) * 4096

    def write() -> None:
        Sink(writing, lambda _: None).write(data)
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(os.dup(reading), "rb") as read:
        assert read.read() == data
    writer.join()
