"""The loop feeds systemd's watchdog, and nothing else does."""

import contextlib
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conductor.clock import Clock
from conductor.commands.context import make_context
from conductor.commands.fleet import make_edge
from conductor.definitions.host import Host
from conductor.errors import BusyError, ConductorError
from conductor.state.history import History
from conductor.state.supervisor_status import SUPERVISE_LOCK
from conductor.supervise import main
from conductor.supervise.log import SupervisorLog
from conductor.supervise.loop import STUCK_SECONDS, Loop
from conductor.supervise.main import run_loop, usable_definitions
from conductor.supervise.observe import HostObservation
from conductor.supervise.runtime_state import RuntimeState
from tests.fakes.runtime import FakeClock
from tests.fakes.world import WEB, World

FED = b"WATCHDOG=1"
FED_EVERY_SECONDS = 0.01


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """systemd's end of the notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as received:
        received.bind(str(tmp_path / "notify"))
        received.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", str(int(4 * FED_EVERY_SECONDS * 1e6)))
        yield received


def test_a_tick_that_hangs_does_not_feed_the_watchdog(systemd: socket.socket) -> None:
    ended, hang, hung, resume = (threading.Event() for _ in range(4))

    def tick() -> None:
        time.sleep(FED_EVERY_SECONDS / 2)
        if hang.is_set():
            hung.set()
            resume.wait()

    loop: Any = SimpleNamespace(
        ended=ended, tick=tick, wake=lambda: None, check_state_files=lambda: None, is_stuck=False
    )
    file: Any = SimpleNamespace(problem="", reload=lambda *, force: force)
    running = threading.Thread(target=run_loop, args=(loop, file, SupervisorLog(), Clock(), queue.SimpleQueue()))
    running.start()
    try:
        assert [systemd.recv(99) for _ in range(5)] == [FED] * 5
        hang.set()
        assert hung.wait(5)
        systemd.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while systemd.recv(99) == FED:  # what was sent before the hang
                pass
        systemd.settimeout(10 * FED_EVERY_SECONDS)
        with pytest.raises(TimeoutError):
            systemd.recv(99)
        assert running.is_alive()
        hang.clear()
        resume.set()
        systemd.settimeout(5)
        assert systemd.recv(99) == FED
    finally:
        ended.set()
        resume.set()
        running.join(5)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_that_ends_it_is_reported(name: str) -> None:
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    signals.put(signal.Signals[name])
    loop: Any = SimpleNamespace(ended=threading.Event())
    file: Any = SimpleNamespace()
    lines: list[str] = []
    run_loop(loop, file, SupervisorLog(lines.append), FakeClock(), signals)
    assert (lines, loop.ended.is_set()) == ([f"received {name}, exiting; the containers keep running"], True)


def test_it_waits_for_a_usable_file_under_systemd(systemd: socket.socket, tmp_path: Path) -> None:
    path = tmp_path / "services.yml"

    class WritingClock(Clock):
        def sleep(self, seconds: float) -> None:
            path.write_text(f'{{"version": 1, "host": {{"state_dir": "{tmp_path}"}}, "services": {{}}}}')

    lines: list[str] = []
    file = usable_definitions(path, tmp_path, SupervisorLog(lines.append), WritingClock())
    assert (file.definitions.ids, file.problem) == ((), "")
    assert len(lines) == 1
    assert b"READY=1" in systemd.recv(999).split(b"\n")


def test_without_systemd_an_unusable_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConductorError):
        usable_definitions(tmp_path / "services.yml", tmp_path, SupervisorLog(), Clock())


def test_a_stuck_pass_does_not_feed_the_watchdog(systemd: socket.socket) -> None:
    clock, ended, resume = FakeClock(), threading.Event(), threading.Event()
    observing = threading.Event()

    def observe(**_: bool) -> None:
        observing.set()
        resume.wait(30)

    observer: Any = SimpleNamespace(observe=observe, stamp=lambda: None)
    results: Any = SimpleNamespace(take=lambda *_: None)
    log = SupervisorLog()
    loop = Loop(clock, observer, results, RuntimeState(log), ended)
    file: Any = SimpleNamespace(problem="", reload=lambda *, force: force)
    running = threading.Thread(target=run_loop, args=(loop, file, log, clock, queue.SimpleQueue()))
    running.start()
    try:
        assert systemd.recv(99) == FED
        assert observing.wait(5)
        clock.advance(STUCK_SECONDS / 2)
        assert systemd.recv(99) == FED  # it may still end
        clock.advance(STUCK_SECONDS)
        systemd.settimeout(1.0)
        with pytest.raises(TimeoutError):
            systemd.recv(99)
        resume.set()
        while loop.is_stuck:
            clock.advance(1.0)
            time.sleep(0.01)
        systemd.settimeout(5)
        clock.advance(1.0)
        assert systemd.recv(99) == FED
    finally:
        ended.set()
        resume.set()
        running.join(5)


def test_a_restart_of_docker_after_the_list_was_taken_belongs_to_the_next_pass(host: Any) -> None:
    """The list of the pass in progress is from before the restart, so it shows running replicas."""
    before, passes = {one.id for one in host.replicas()}, 0

    def observe(*, runtime_restarted: bool) -> HostObservation:
        nonlocal passes
        found: HostObservation = host.observer.observe(runtime_restarted=runtime_restarted)
        passes += 1
        if passes == 1:
            host.runtime.restart_host()
            loop.events_lost()
        return found

    restarting: Any = SimpleNamespace(observe=observe, stamp=lambda: None)
    loop = Loop(host.clock, restarting, host.results, host.runtime_state, threading.Event())
    while passes < 4:
        loop.tick()
        host.clock.advance(1.0)
    host.in_progress.finish()
    assert {one.id for one in host.replicas() if one.running} == before


def own_history(host: Host) -> History:
    return History(Path(host.state_dir))


def test_a_second_supervise_changes_nothing_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been started with another file, for example to try that one."""
    monkeypatch.setattr(main, "END_SECONDS", 0.0)
    monkeypatch.setattr(main, "_limit_heaps", lambda: None)
    world = World(tmp_path, {"web": WEB})
    with world.context().locks.hold(SUPERVISE_LOCK), pytest.raises(BusyError) as refused:
        main.supervise(tmp_path / "services.yml", tmp_path / "state", make_context, own_history, make_edge, once=True)
    assert refused.value.hint == (
        f"systemctl stop conductor-supervise   (or kill {os.getpid()}, if systemd did not start it)"
    )
    assert not (tmp_path / "state" / "host.json").exists()
