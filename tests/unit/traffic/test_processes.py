"""What cannot be read about a process is an error, and never the answer that it has exited or holds no socket."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from conductor.traffic import processes
from conductor.traffic.processes import Worker, boot_id

READS = {
    "alive": "alive(worker)",
    "is_master": "is_master(worker.pid)",
    "parent": "parent(worker.pid)",
    "workers": "workers(worker.pid)",
    "masters": "masters()",
    "connections": "connections([worker])",
    "listens": "listens(worker, frozenset({1}))",
    "listeners": "listeners(worker.pid)",
    "listening_ports": "listening_ports(worker.pid)",
    "has_unix_clients": "has_unix_clients(worker)",
}
# A process of its own cannot open one more file: a limit of the test's process would reach threads of other tests.
SCRIPT = """
import resource
from conductor.errors import ConductorError
from conductor.traffic.processes import *
from conductor.traffic.processes import Worker, boot_id
worker = Worker({pid}, {started}, boot_id())
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    {read}
except ConductorError:
    print("an error")
"""


@pytest.mark.parametrize("name", READS)
def test_a_process_that_cannot_be_read_is_an_error(name: str, living_worker: Worker) -> None:
    script = SCRIPT.format(pid=living_worker.pid, started=living_worker.started, read=READS[name])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "an error\n", done.stderr


def test_a_process_that_has_exited_is_none() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    worker = Worker(ended.pid, 1, boot_id())
    assert not processes.alive(worker)
    assert not processes.is_master(ended.pid)
    assert processes.connections([worker]) == ((),)
    assert processes.listeners(ended.pid) == frozenset()
    assert not processes.has_unix_clients(worker)


def test_a_zombie_holds_nothing() -> None:
    with socket.socket(), subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        worker = Worker(ended.pid, 1, boot_id())
        assert not processes.alive(worker)
        assert processes.connections([worker]) == ((),)


def test_a_signal_that_waits_is_a_later_reload() -> None:
    """nginx's master blocks SIGHUP while it reads its configuration."""
    block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {1}); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", block], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert not processes.reloads_later(process.pid)
        process.send_signal(signal.SIGHUP)
        assert processes.reloads_later(process.pid)
        process.kill()
    assert not processes.reloads_later(process.pid)
