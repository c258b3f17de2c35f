"""Bytes between a task and whoever called it: every one, in order, with stdout and stderr apart where there is no terminal."""

import errno
import os
import select
import socket
import threading
from collections.abc import Callable

from conductor.output.streams import remark

CHUNK = 65536
_HEAD = 8
_STDERR = 2

Keep = Callable[[bytes], None]


class Sink:
    """A stream of ours. A reader who has left, or a full disk, never stops a task: what comes then is dropped."""

    def __init__(self, descriptor: int, keep: Keep) -> None:
        self._descriptor = descriptor
        self._keep = keep
        self._gone = False

    def write(self, data: bytes) -> None:
        """All of it; waits for a slow reader."""
        self._keep(data)
        view = memoryview(data)
        while view and not self._gone:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                _wait_for(self._descriptor, select.POLLOUT)
            except OSError as error:
                self._gone = True
                if error.errno != errno.EPIPE:
                    remark(f"warning: cannot write the task's output: {error.strerror}; the rest of it is dropped")


def pump_input(stream: socket.socket) -> bool:
    """Our standard input to the task, to its end or that of the task; True when ours was the one that ended."""
    while True:
        try:
            data = os.read(0, CHUNK)
        except BlockingIOError:
            _wait_for(0, select.POLLIN)
            continue
        except OSError:  # a terminal that is gone
            data = b""
        try:
            if not data:
                stream.shutdown(socket.SHUT_WR)
                return True
            stream.sendall(data)
        except OSError:
            return False


def pump_output(stream: socket.socket, out: Sink, err: Sink, *, framed: bool) -> None:
    """The task's output to ours, until it has ended."""
    try:
        if framed:
            with stream.makefile("rb") as frames:
                while len(head := frames.read(_HEAD)) == _HEAD:
                    (err if head[0] == _STDERR else out).write(frames.read(int.from_bytes(head[4:])))
        else:
            while data := stream.recv(CHUNK):
                out.write(data)
    except OSError:
        pass  # the daemon is gone; whoever waits for the exit code says so


def _wait_for(descriptor: int, event: int) -> None:
    """For one that somebody else with the same terminal or pipe has made non-blocking."""
    poll = select.poll()
    poll.register(descriptor, event)
    poll.poll()


def in_thread(work: Callable[[], None]) -> None:
    """Beside us; it keeps no process alive."""
    threading.Thread(target=work, daemon=True).start()
