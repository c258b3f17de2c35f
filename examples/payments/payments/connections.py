"""Tracks open connections and which of them have a request in progress, for a graceful shutdown."""

import contextlib
import socket
import threading


class Connections:
    """The open connections of a server. Its threads report the start and end of each request."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._changed = threading.Condition()
        self._busy: dict[socket.socket, bool] = {}

    def opened(self, connection: socket.socket) -> None:
        """A connection was accepted."""
        with self._changed:
            self._busy[connection] = False

    def busy(self, connection: socket.socket) -> None:
        """A request has started."""
        with self._changed:
            self._busy[connection] = True

    def idle(self, connection: socket.socket) -> None:
        """The request has ended. A stopping server reads only what has already arrived."""
        with self._changed:
            self._busy[connection] = False
            if self.stopping.is_set():
                _end_of_input(connection)

    def closed(self, connection: socket.socket) -> None:
        """The connection was closed."""
        with self._changed:
            self._busy.pop(connection, None)
            self._changed.notify_all()

    def finish(self, within: float) -> int:
        """Close each connection after its pending requests; return how many are still open after `within` seconds."""
        with self._changed:
            self.stopping.set()
            for connection, busy in self._busy.items():
                if not busy:
                    _end_of_input(connection)
            self._changed.wait_for(lambda: not self._busy, within)
            return len(self._busy)


def _end_of_input(connection: socket.socket) -> None:
    """End the input after the data that has arrived: on Linux, SHUT_RD keeps that data readable."""
    with contextlib.suppress(OSError):  # the client has already closed it
        connection.shutdown(socket.SHUT_RD)
