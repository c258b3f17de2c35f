"""Deliveries of `supervise`: in order for each service, none waits for another one, and failures are logged once."""

import threading
import time
from pathlib import Path

import msgspec
import pytest

from conductor.clock import Clock
from conductor.notify.notifier import Notifier
from conductor.plan.notification import Notification
from conductor.supervise.log import SupervisorLog
from conductor.supervise.notifications import Notifications
from tests.fakes.world import WEB, WORKER, World

UNHEALTHY = Notification(event="unhealthy", host="h", service="web", when="2026-01-01T00:00:00.000Z")


class Host(World):
    """Commands write the event that they got into a file."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, {})
        self.lines: list[str] = []
        self.log = SupervisorLog(self.lines.append)
        self.sent = Notifications(Notifier(lambda: self.definitions, self.store, Clock()), self.log)

    def set_commands(self, web: str, worker: str = "cat") -> None:
        self.define({
            "web": {**WEB, "notify": ["/bin/sh", "-c", web]}, "worker": {**WORKER, "notify": ["/bin/sh", "-c", worker]},
        })  # fmt: skip


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_those_about_one_service_are_delivered_in_order(host: Host, tmp_path: Path) -> None:
    host.set_commands(f"cat >>{tmp_path}/got")
    events = ["unhealthy", "backing-off", "healed"] * 3
    for event in events:
        host.sent.put(msgspec.structs.replace(UNHEALTHY, event=event))
    host.sent.wait()
    got = [msgspec.json.decode(line)["event"] for line in (tmp_path / "got").read_text().splitlines()]
    assert got == events


def test_a_command_that_hangs_delays_neither_the_caller_nor_other_services(host: Host, tmp_path: Path) -> None:
    host.set_commands(f"while [ ! -e {tmp_path}/end ]; do sleep 0.01; done", f"cat >>{tmp_path}/got")
    began = time.monotonic()
    host.sent.put(UNHEALTHY)
    host.sent.put(msgspec.structs.replace(UNHEALTHY, service="worker"))
    assert time.monotonic() - began < 5
    while not (tmp_path / "got").exists():
        time.sleep(0.005)
    host.sent.wait(0.01)
    assert any(thread.name == "notify" for thread in threading.enumerate())  # the one that hangs
    (tmp_path / "end").touch()
    host.sent.wait()


def test_failures_are_logged_once_until_a_success(host: Host, tmp_path: Path) -> None:
    host.set_commands(f"[ -e {tmp_path}/fixed ]")
    for _ in range(3):
        host.sent.put(UNHEALTHY)
    host.sent.wait()
    line = "web.notify: cannot send a notification about web: /bin/sh exited with code 1"
    assert host.lines == [line]
    assert not host.log.has_failures  # `supervise --once` succeeds
    (tmp_path / "fixed").touch()
    host.sent.put(UNHEALTHY)
    host.sent.wait()
    (tmp_path / "fixed").unlink()
    host.sent.put(UNHEALTHY)
    host.sent.wait()
    assert host.lines == [line, line]
