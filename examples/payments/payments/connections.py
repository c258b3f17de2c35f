"""Which connections are open and which of them are busy with a request: what a stop that loses nothing must know."""

import contextlib
import socket
import threading


class Connections:
    """The open connections of a server; told by its threads when a request begins and ends."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._changed = threading.Condition()
        self._busy: dict[socket.socket, bool] = {}

    def opened(self, connection: socket.socket) -> None:
        """A connection was accepted."""
        with self._changed:
            self._busy[connection] = False

    def busy(self, connection: socket.socket) -> None:
        """A request has begun."""
        with self._changed:
            self._busy[connection] = True

    def idle(self, connection: socket.socket) -> None:
        """No request is under way; when stopping there will be none but what has arrived."""
        with self._changed:
            self._busy[connection] = False
            if self.stopping.is_set():
                _end_of_input(connection)

    def closed(self, connection: socket.socket) -> None:
        """The connection is gone."""
        with self._changed:
            self._busy.pop(connection, None)
            self._changed.notify_all()

    def finish(self, within: float) -> int:
        """Let every connection end after what has arrived on it; how many have not after so many seconds."""
        with self._changed:
            self.stopping.set()
            for connection, busy in self._busy.items():
                if not busy:
                    _end_of_input(connection)
            self._changed.wait_for(lambda: not self._busy, within)
            return len(self._busy)


def _end_of_input(connection: socket.socket) -> None:
    """Let the reader find the end after what has arrived, which it still answers (so does Linux's SHUT_RD)."""
    with contextlib.suppress(OSError):  # the client has closed it already
        connection.shutdown(socket.SHUT_RD)
