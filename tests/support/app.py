"""The fixture app: a small HTTP/1.1 server that boots fast, says which revision answers, and can misbehave on purpose.

It runs inside the images of `images.py` and uses the standard library only. It is rude: SIGTERM ends it at once, in the
middle of whatever it does, because a polite app hides mistakes of a drain.

Environment: PORT (8080), BOOT (seconds from process start to listening, 0.3), SERVICE (a name for the answers), REVISION
(baked into the image), POLITE=1 (finish requests on SIGTERM), FAULT or FAULT_<REVISION> (see `FAULTS`), CLOCK_LOG (a
file on a volume that gets a line `TIME HOSTNAME start|tick|end REVISION` when it starts, as it runs, and on SIGTERM).

Paths: /health · /slow?s=N (answers after N seconds) · /ws (101, then echoes) · /env (NAMES of its variables) ·
/big?bytes=N · /status?code=N · /close (answers with Connection: close) · anything else says who answered.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from typing import ClassVar
from urllib.parse import parse_qs

STARTED = time.monotonic()
REVISION = os.environ.get("REVISION", "none")
SERVICE = os.environ.get("SERVICE", "app")
HOSTNAME = socket.gethostname()
MOST_HEAD_BYTES = 65536
EXIT_LATER_SECONDS = 3.0
TICK_SECONDS = 0.05

FAULTS = {
    "exit": "exits at once with code 3 and a line in the log",
    "exit-later": "listens, and exits with code 3 after 3 seconds",
    "500": "the health check answers 500 with a body",
    "redirect": "the health check answers 302",
    "hang": "the health check is read and never answered; other paths are",
    "silent": "accepts connections and never answers anything",
    "never": "runs and never listens",
    "ignore-term": "ignores SIGTERM",
}


def fault() -> str:
    """The misbehaviour asked for; one for this revision wins over one for all."""
    chosen = os.environ.get(f"FAULT_{REVISION}", os.environ.get("FAULT", ""))
    if chosen and chosen not in FAULTS:
        say(f"unknown FAULT {chosen!r}: one of {', '.join(FAULTS)}")
        sys.exit(64)
    return chosen


def say(line: str) -> None:
    """One line of log."""
    sys.stderr.write(f"{SERVICE} {REVISION}: {line}\n")
    sys.stderr.flush()


def clock(word: str) -> None:
    """One line of CLOCK_LOG."""
    if path := os.environ.get("CLOCK_LOG"):
        with open(path, "a") as log:  # noqa: PTH123 (pathlib would make the boot longer)
            log.write(f"{time.time():.6f} {HOSTNAME} {word} {REVISION}\n")


async def tick() -> None:
    """For as long as it runs."""
    while True:
        clock("tick")
        await asyncio.sleep(TICK_SECONDS)


def leave_at_once(*_: object) -> None:
    """SIGTERM, rudely."""
    clock("end")
    os._exit(0)


class Requests(asyncio.Protocol):
    """One connection: reads whole requests, answers them in order, keeps the connection."""

    open_now: ClassVar[set["Requests"]] = set()
    leaving = False

    def __init__(self, misbehaviour: str) -> None:
        self.fault = misbehaviour
        self.buffer = bytearray()
        self.waiting = False  # an answer is on its way later; what arrives is kept
        self.echoing = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.open_now.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open_now.discard(self)

    def data_received(self, data: bytes) -> None:
        if self.echoing:
            self.transport.write(data)
            return
        self.buffer += data
        if self.fault == "silent":
            self.buffer.clear()
            return
        while not self.waiting and not self.echoing and self._next():
            pass

    def _next(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self.buffer) > MOST_HEAD_BYTES:
                self.transport.abort()
            return False
        lines = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        taken = self._body_end(end + 4, headers)
        if taken is None:
            return False
        body_bytes, until = taken
        del self.buffer[:until]
        method, _, rest = lines[0].partition(" ")
        target, _, version = rest.rpartition(" ")
        self._answer(method, target, headers, body_bytes, keep=self._keeps(version, headers))
        return True

    def _body_end(self, start: int, headers: dict[str, str]) -> tuple[int, int] | None:
        """(bytes of body, where the request ends), or None until all of it is there."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked_end(start)
        length = int(headers.get("content-length", "0"))
        return (length, start + length) if len(self.buffer) >= start + length else None

    def _chunked_end(self, start: int) -> tuple[int, int] | None:
        size_sum = 0
        while True:
            line_end = self.buffer.find(b"\r\n", start)
            if line_end < 0:
                return None
            size = int(bytes(self.buffer[start:line_end]).split(b";")[0], 16)
            start = line_end + 2 + size + 2
            if len(self.buffer) < start:
                return None
            size_sum += size
            if size == 0:
                return size_sum, start

    def _keeps(self, version: str, headers: dict[str, str]) -> bool:
        wish = headers.get("connection", "").lower()
        return not self.leaving and ("keep-alive" in wish if version == "HTTP/1.0" else "close" not in wish)

    def _answer(self, method: str, target: str, headers: dict[str, str], body_bytes: int, *, keep: bool) -> None:
        path, _, query = target.partition("?")
        asked = parse_qs(query)
        if path == "/health" and self.fault == "hang":
            self.waiting = True
        elif path == "/health" and self.fault in {"500", "redirect"}:
            status, extra = (500, "") if self.fault == "500" else (302, "Location: /elsewhere\r\n")
            self._send(status, {"error": "the database is on holiday", "revision": REVISION}, keep=keep, extra=extra)
        elif path == "/ws" or "upgrade" in headers:
            self.echoing = True
            kind = headers.get("upgrade", "echo")
            head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {kind}\r\nConnection: Upgrade\r\nX-Revision: {REVISION}\r\n\r\n"
            self.transport.write(head.encode() + bytes(self.buffer))
            self.buffer.clear()
        elif path == "/slow":
            self.waiting = True
            loop = asyncio.get_running_loop()
            loop.call_later(float(asked["s"][0]), self._late, method, path, body_bytes, keep)
        elif path == "/env":
            self._send(200, {"names": sorted(os.environ)}, keep=keep)
        elif path == "/big":
            self._send(200, {"filling": "x" * int(asked["bytes"][0])}, keep=keep)
        elif path == "/status":
            self._send(int(asked["code"][0]), self._who(method, path, body_bytes), keep=keep)
        else:
            self._send(200, self._who(method, target, body_bytes), keep=keep and path != "/close")

    def _late(self, method: str, path: str, body_bytes: int, keep: bool) -> None:
        if self.transport.is_closing():
            return
        self.waiting = False
        self._send(200, self._who(method, path, body_bytes), keep=keep and not self.leaving)
        self.data_received(b"")

    def _who(self, method: str, path: str, body_bytes: int) -> dict[str, object]:
        return {
            "service": SERVICE,
            "revision": REVISION,
            "hostname": HOSTNAME,
            "address": self.transport.get_extra_info("sockname")[0],
            "method": method,
            "path": path,
            "received": body_bytes,
        }

    def _send(self, status: int, content: dict[str, object], *, keep: bool, extra: str = "") -> None:
        body = json.dumps(content).encode()
        connection = "" if keep else "Connection: close\r\n"
        head = (
            f"HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"X-Revision: {REVISION}\r\nX-Service: {SERVICE}\r\n{extra}{connection}\r\n"
        )
        self.transport.write(head.encode() + body)
        if not keep:
            self.transport.close()


async def leave_politely(server: asyncio.Server) -> None:
    """Stop listening, let requests under way end, close the idle connections, exit."""
    server.close()
    Requests.leaving = True
    while any(one.waiting or one.buffer for one in Requests.open_now):
        await asyncio.sleep(0.02)
    os._exit(0)


def give_up() -> None:
    """The end of FAULT=exit-later."""
    say("out of ideas")
    os._exit(3)


async def serve() -> None:
    """Boot for as long as asked, then answer for ever."""
    misbehaviour = fault()
    loop = asyncio.get_running_loop()
    if misbehaviour == "ignore-term":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif not os.environ.get("POLITE"):
        signal.signal(signal.SIGTERM, leave_at_once)
    if misbehaviour == "exit":
        say("cannot start: the configuration is missing its moon phase")
        sys.exit(3)
    clock("start")
    ticking = loop.create_task(tick()) if os.environ.get("CLOCK_LOG") else None
    if misbehaviour == "exit-later":
        loop.call_later(EXIT_LATER_SECONDS, give_up)
    if misbehaviour == "never":
        say("thinking about listening")
        await asyncio.Event().wait()
    await asyncio.sleep(max(0.0, float(os.environ.get("BOOT", "0.3")) - (time.monotonic() - STARTED)))
    port = int(os.environ.get("PORT", "8080"))
    server = await loop.create_server(lambda: Requests(misbehaviour), "0.0.0.0", port, backlog=1024)
    if os.environ.get("POLITE") and misbehaviour != "ignore-term":
        loop.add_signal_handler(signal.SIGTERM, lambda: loop.create_task(leave_politely(server)))
    say(f"listening on {port}")
    await (ticking or asyncio.Event().wait())


if __name__ == "__main__":
    asyncio.run(serve())
