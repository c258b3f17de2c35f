"""The load itself: keep-alive clients as small state machines over one epoll.

Honest means: no retries; a request on a connection that the server closed while the client was thinking is lost, since
such a client does not look; `Connection: close` is respected, because a client that was told is to blame itself.

One request is not promised to anybody and is counted apart, if the duration of the announce of a reload is given: the request
of a client that was idle for at least that long, on a connection that ended without a byte of answer (`Loss.IDLE_LONGER`).
"""

import contextlib
import errno
import heapq
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tests.support.http_answer import NotHttpError, read_answer
from tests.support.load_tally import Loss, Tally

TIMEOUT_SWEEP_SECONDS = 0.1
PAUSE_AFTER_NO_CONNECTION_SECONDS = 0.02  # a refused client comes back as people do, not in a loop
CLOSE_WAIT = 8  # the state of a connection that the other side has closed, in tcpi_state
LAST_DATA_RECEIVED = 52  # offset of tcpi_last_data_recv, in milliseconds, in Linux's struct tcp_info


class Request(NamedTuple):
    """What to send: the whole request as bytes, and a key told to `Keys` when it is answered by 2xx."""

    content: bytes
    key: str | None = None


class MakeRequest(Protocol):
    """The payload hook: a request for a client's n-th turn."""

    def __call__(self, client: int, turn: int, /) -> Request: ...


class Settings(NamedTuple):
    """Whom to ask, and as how many. `announce`: the seconds for which a reload is announced; None or 0 if it is not, or if
    the duration is not known."""

    host: str
    port: int
    busy: int
    idle: int
    idle_seconds: float
    timeout: float
    announce: float | None = None


class _Client:
    """One client and at most one connection."""

    __slots__ = (
        "buffer",
        "busy",
        "closed_before",
        "connecting",
        "deadline",
        "fresh",
        "idle_seconds",
        "number",
        "request",
        "sock",
        "started",
        "turn",
        "unsent",
    )

    def __init__(self, number: int, *, busy: bool) -> None:
        self.number = number
        self.busy = busy
        self.sock: socket.socket | None = None
        self.buffer = b""
        self.unsent = b""
        self.turn = 0
        self.started = 0.0
        self.closed_before = False  # the connection, by the server, before the request under way was sent
        self.idle_seconds = 0.0  # between the connection's last answer and the request under way
        self.deadline = 0.0
        self.fresh = True  # the request under way is the first on its connection
        self.connecting = False
        self.request: Request | None = None

    @property
    def kind(self) -> str:
        return "busy" if self.busy else "idle"


class Clients:
    """Runs all clients in one thread until told to stop; requests under way at the end are waited for."""

    def __init__(
        self,
        settings: Settings,
        make_request: MakeRequest,
        acknowledged: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._make_request = make_request
        self._acknowledged = acknowledged
        self._epoll = select.epoll()
        self._by_fd: dict[int, _Client] = {}
        self._sleepers: list[tuple[float, int]] = []
        count = settings.busy + settings.idle
        self._clients = [_Client(n, busy=n < settings.busy) for n in range(count)]
        self._stopping = False
        self.tally = Tally(time.time())

    def run(self, seconds: float, should_stop: Callable[[], bool] = lambda: False) -> Tally:
        """Load for `seconds`, or until `should_stop` says so (asked about ten times a second)."""
        now = time.monotonic()
        until = now + seconds
        for client in self._clients:
            # idle clients begin spread over their think time
            delay = 0.0 if client.busy else self._settings.idle_seconds * client.number / len(self._clients)
            heapq.heappush(self._sleepers, (now + delay, client.number))
        next_sweep = now
        try:
            while not self._stopping or self._by_fd:
                for fd, events in self._epoll.poll(self._wait_seconds(next_sweep)):
                    if fd in self._by_fd:
                        self._handle(self._by_fd[fd], events)
                now = time.monotonic()
                if now >= next_sweep:
                    next_sweep = now + TIMEOUT_SWEEP_SECONDS
                    self._stopping = self._stopping or now >= until or should_stop()
                    self._sweep(now)
                self._wake(now)
        finally:
            self._close_all()
        return self.tally

    def _wait_seconds(self, next_sweep: float) -> float:
        wake = min(self._sleepers[0][0], next_sweep) if self._sleepers and not self._stopping else next_sweep
        return max(0.0, wake - time.monotonic())

    def _wake(self, now: float) -> None:
        while self._sleepers and self._sleepers[0][0] <= now and not self._stopping:
            self._begin(self._clients[heapq.heappop(self._sleepers)[1]])

    def _sweep(self, now: float) -> None:
        for client in list(self._by_fd.values()):
            if now > client.deadline:
                self._lose(client, Loss.TIMEOUT, f"no answer in {self._settings.timeout} s")

    def _begin(self, client: _Client) -> None:
        """Send the next request, on the connection that is there, whatever became of it."""
        client.request = self._make_request(client.number, client.turn)
        client.turn += 1
        client.unsent = client.request.content
        client.buffer = b""
        client.started = time.monotonic()
        client.deadline = client.started + self._settings.timeout
        client.fresh = client.sock is None
        client.closed_before, client.idle_seconds = (
            (False, 0.0) if client.sock is None else _idle_connection(client.sock)
        )
        if client.sock is None:
            client.sock = socket.socket()
            client.sock.setblocking(False)
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.tally.connections += 1
            client.connecting = True
            code = client.sock.connect_ex((self._settings.host, self._settings.port))
            self._watch(client, select.EPOLLIN | select.EPOLLOUT)
            if code not in {0, errno.EINPROGRESS}:
                self._lose(client, Loss.REFUSED, f"connect: {os.strerror(code)}")
            return
        self._watch(client, select.EPOLLIN)
        self._send(client)

    def _watch(self, client: _Client, events: int) -> None:
        assert client.sock is not None
        fd = client.sock.fileno()
        if fd in self._by_fd:
            self._epoll.modify(fd, events)
        else:
            self._by_fd[fd] = client
            self._epoll.register(fd, events)

    def _send(self, client: _Client) -> None:
        assert client.sock is not None
        try:
            sent = client.sock.send(client.unsent)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            # an answer may have come before the reset, for example a 413; if so it is in the buffer
            self._receive(client, broken=error)
            return
        client.unsent = client.unsent[sent:]
        if client.unsent:
            self._watch(client, select.EPOLLIN | select.EPOLLOUT)

    def _handle(self, client: _Client, events: int) -> None:
        assert client.sock is not None
        if client.connecting:
            client.connecting = False
            code = client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                kind = Loss.REFUSED if code == errno.ECONNREFUSED else Loss.FRESH
                self._lose(client, kind, f"connect: {os.strerror(code)}")
                return
            self._watch(client, select.EPOLLIN)
            self._send(client)
            return
        if client.unsent and events & select.EPOLLOUT:
            self._watch(client, select.EPOLLIN)
            self._send(client)
            return
        if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self._receive(client)

    def _receive(self, client: _Client, broken: OSError | None = None) -> None:
        assert client.sock is not None
        try:
            data = client.sock.recv(262144)
        except BlockingIOError:
            if broken is None:
                return
            data = b""
        except OSError as error:
            data, broken = b"", broken or error
        client.buffer = client.buffer + data if client.buffer else data
        try:
            answer = read_answer(client.buffer, ended=not data)
        except NotHttpError as error:
            self._lose(client, self._ended(client), f"not HTTP: {error}")
            return
        if answer is None:
            if not data:
                how = str(broken) if broken else "closed"
                self._lose(client, self._ended(client), f"{how} after {len(client.buffer)} bytes of answer")
            return
        at = time.time()  # read first: a pause between the two must not make the request look younger
        now = time.monotonic()
        self.tally.answer(at, client.kind, now - client.started, answer.status, answer.revision)
        if client.request is not None and client.request.key is not None and 200 <= answer.status < 300:
            self._acknowledged(client.request.key)
        if answer.closes or not data or client.unsent:
            self._drop(client)
        self._next(client, now)

    def _ended(self, client: _Client) -> Loss:
        if client.fresh:
            return Loss.FRESH
        announce = self._settings.announce
        is_idle_longer = announce and client.closed_before and client.idle_seconds >= announce and not client.buffer
        return Loss.IDLE_LONGER if is_idle_longer else Loss.REUSED

    def _lose(self, client: _Client, kind: Loss, detail: str) -> None:
        at, now = time.time(), time.monotonic()
        if kind in {Loss.REUSED, Loss.IDLE_LONGER}:
            detail += f", on a connection that was idle for {client.idle_seconds:.2f} s"
        self.tally.loss(at, client.kind, now - client.started, kind, detail)
        self._drop(client)
        self._next(client, now, pause=PAUSE_AFTER_NO_CONNECTION_SECONDS if kind is Loss.REFUSED else 0.0)

    def _next(self, client: _Client, now: float, pause: float = 0.0) -> None:
        """A busy client goes on at once; one that thinks does not look at its connection meanwhile."""
        if client.sock is not None and (not client.busy or pause or self._stopping):
            self._unwatch(client)
        if self._stopping:
            return
        wait = pause if client.busy else max(pause, self._settings.idle_seconds)
        if wait or client.sock is None:  # through the queue, so that failures cannot recurse
            heapq.heappush(self._sleepers, (now + wait, client.number))
        else:
            self._begin(client)

    def _unwatch(self, client: _Client) -> None:
        assert client.sock is not None
        if self._by_fd.pop(client.sock.fileno(), None) is not None:
            self._epoll.unregister(client.sock.fileno())

    def _drop(self, client: _Client) -> None:
        if client.sock is not None:
            self._unwatch(client)
            client.sock.close()
            client.sock = None

    def _close_all(self) -> None:
        for client in self._clients:
            with contextlib.suppress(OSError):
                self._drop(client)
        self._epoll.close()


def _idle_connection(sock: socket.socket) -> tuple[bool, float]:
    """Return whether the server has closed the connection, and how long ago its last byte arrived here.

    The kernel knows both: a client that waits for the processor reads them later.
    """
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_DATA_RECEIVED + 4)
    milliseconds: int = struct.unpack_from("=I", info, LAST_DATA_RECEIVED)[0]
    return info[0] == CLOSE_WAIT, milliseconds / 1000
