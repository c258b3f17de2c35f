"""Copies bytes between a task and the caller: all of them, in order, stdout and stderr separately without a terminal."""

import errno
import os
import select
import socket
import threading
from collections.abc import Callable

from conductor.output.streams import write_stderr

CHUNK_BYTES = 65536
_HEADER_BYTES = 8  # of a frame of the daemon
_STDERR = 2

Keep = Callable[[bytes], None]


class Sink:
    """One of the caller's streams. A closed pipe or a full disk never stops the task: the rest of its output is dropped."""

    def __init__(self, descriptor: int, keep: Keep) -> None:
        self._descriptor = descriptor
        self._keep = keep
        self._closed = False

    def write(self, data: bytes) -> None:
        """Write all of it; wait for a slow reader."""
        self._keep(data)
        view = memoryview(data)
        while view and not self._closed:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                _wait_for(self._descriptor, select.POLLOUT)
            except OSError as error:
                self._closed = True
                if error.errno != errno.EPIPE:
                    write_stderr(f"warning: cannot write the task's output: {error.strerror}; the rest is dropped")


def pump_input(stream: socket.socket) -> bool:
    """Copy standard input to the task until one of the two ends; return True when it was standard input."""
    while True:
        try:
            data = os.read(0, CHUNK_BYTES)
        except BlockingIOError:
            _wait_for(0, select.POLLIN)
            continue
        except OSError:  # the terminal was closed
            data = b""
        try:
            if not data:
                stream.shutdown(socket.SHUT_WR)
                return True
            stream.sendall(data)
        except OSError:
            return False


def pump_output(stream: socket.socket, out: Sink, err: Sink, *, framed: bool) -> None:
    """Copy the task's output until it ends."""
    try:
        if framed:
            with stream.makefile("rb") as frames:
                while len(header := frames.read(_HEADER_BYTES)) == _HEADER_BYTES:
                    (err if header[0] == _STDERR else out).write(frames.read(int.from_bytes(header[4:])))
        else:
            while data := stream.recv(CHUNK_BYTES):
                out.write(data)
    except OSError:
        pass  # the connection to the daemon broke, which the wait for the exit code reports


def _wait_for(descriptor: int, event: int) -> None:
    """Wait for a stream that another process with the same terminal or pipe has made non-blocking."""
    poll = select.poll()
    poll.register(descriptor, event)
    poll.poll()


def in_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread that does not keep the process alive."""
    threading.Thread(target=work, daemon=True).start()
