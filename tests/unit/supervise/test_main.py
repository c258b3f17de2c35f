"""What systemd's watchdog sees of the loop: it is fed by its turns, and by nothing else."""

import queue
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conductor.clock import Clock
from conductor.supervise.main import _turn

FED = b"WATCHDOG=1"
FED_EVERY_SECONDS = 0.01


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Its end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", str(int(4 * FED_EVERY_SECONDS * 1e6)))
        yield heard


def test_a_tick_that_hangs_stops_the_feeding(systemd: socket.socket) -> None:
    over, hang, hung, go_on = (threading.Event() for _ in range(4))

    def tick() -> None:
        time.sleep(FED_EVERY_SECONDS / 2)
        if hang.is_set():
            hung.set()
            go_on.wait()

    loop: Any = SimpleNamespace(over=over, problem="", tick=tick, wake=lambda: None, look_at_state=lambda: None)
    current: Any = SimpleNamespace(problem="", read_again=lambda *, asked: asked)
    teller: Any = None  # has nothing to tell
    turning = threading.Thread(target=_turn, args=(loop, current, teller, Clock(), queue.SimpleQueue()))
    turning.start()
    try:
        assert [systemd.recv(99) for _ in range(5)] == [FED] * 5
        hang.set()
        assert hung.wait(5)
        systemd.settimeout(10 * FED_EVERY_SECONDS)
        with pytest.raises(TimeoutError):  # what was sent before, and then nothing
            assert [systemd.recv(99) for _ in range(100)] == []
        assert turning.is_alive()
        hang.clear()
        go_on.set()
        systemd.settimeout(5)
        assert systemd.recv(99) == FED
    finally:
        over.set()
        go_on.set()
        turning.join(5)
