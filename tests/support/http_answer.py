"""Reads one HTTP/1.1 answer out of a growing buffer, strictly enough to know whether all of it came."""

import re
from typing import NamedTuple

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[^\r]*close", re.IGNORECASE)
_REVISION = re.compile(rb"\r\nx-revision:[ \t]*([^\r]*)", re.IGNORECASE)


class Answer(NamedTuple):
    """A whole answer. `closes` says that the server ends the connection after it, so it must not be reused."""

    status: int
    revision: str | None
    closes: bool
    body: bytes
    head: bytes


class NotHttpError(ValueError):
    """The bytes are not an HTTP response."""


def read_answer(buffer: bytes, *, ended: bool = False) -> Answer | None:
    """The answer at the start of `buffer`, or None while it is not all there. `ended`: the peer closed, which is how
    an answer without a length ends. Interim answers (1xx, not 101) are skipped."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = buffer[: end + 2]
    if head[:7] != b"HTTP/1." or not head[9:12].isdigit():
        raise NotHttpError(repr(head[:40]))
    status = int(head[9:12])
    if 100 <= status < 200 and status != 101:
        return read_answer(buffer[end + 4 :], ended=ended)
    closes = _CLOSE.search(head) is not None or head[7:8] == b"0"
    body: bytes | None
    length = _LENGTH.search(head)
    if status in {101, 204, 304}:
        body = b""
    elif _CHUNKED.search(head):
        body = _chunked(buffer, end + 4)
    elif length:
        until = end + 4 + int(length[1])
        body = buffer[end + 4 : until] if len(buffer) >= until else None
    else:
        body, closes = (buffer[end + 4 :] if ended else None), True
    if body is None:
        return None
    revision = _REVISION.search(head)
    return Answer(status, revision[1].decode() if revision else None, closes, body, head)


def _chunked(buffer: bytes, start: int) -> bytes | None:
    parts: list[bytes] = []
    while True:
        line_end = buffer.find(b"\r\n", start)
        if line_end < 0:
            return None
        size = int(buffer[start:line_end].split(b";")[0], 16)
        start = line_end + 2
        if len(buffer) < start + size + 2:
            return None
        if size == 0:
            return b"".join(parts)
        parts.append(buffer[start : start + size])
        start += size + 2
