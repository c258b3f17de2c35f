"""Requests to the Engine API over Conductor's own HTTP client, each on its own connection.

Cron calls `conductor run` every minute, and the SDK's import alone takes 90 ms. The first request negotiates the version of the
API.
"""

import errno
import json
from collections.abc import Collection, Mapping
from typing import Any, TypedDict, TypeVar, Unpack
from urllib.parse import urlsplit

from conductor.errors import ConductorError
from conductor.http import Connection, InvalidResponse
from conductor.runtime.docker.dialect import API, DOCKER, Dialect, dialect_of, product_at
from conductor.runtime.docker.responses import NEWEST_API, message, negotiated
from conductor.runtime.docker.shapes import Error, MalformedResponse, Version, read_json
from conductor.runtime.docker.trace import traced
from conductor.runtime.port import RuntimeDenied, RuntimeUnavailable

T = TypeVar("T")
DEADLINE_SECONDS = 60.0  # of one request; streams have none
NOT_FOUND = 404
UNSUPPORTED = 400  # the answer to a version of the API that the daemon does not have


class NotFoundError(ConductorError):
    """What a request names does not exist."""


class Details(TypedDict, total=False):
    """What a request may have."""

    body: Mapping[str, Any]  # sent as JSON
    tolerated: Collection[int]  # statuses from 400 that are no error
    headers: Mapping[str, str]


class EngineApi:
    """One daemon at `base_url` (`unix://PATH` or `tcp://HOST:PORT`). Every failure is a `ConductorError`.

    `dialect` is Docker's until the first response shows that it is another.
    """

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"unix", "tcp", "http"}:
            raise ConductorError(
                f"cannot run tasks over {base_url}: only unix:// and tcp:// are supported",
                "change host.docker in the definitions file",
            )
        self.base_url = base_url
        self.dialect: Dialect = DOCKER
        self._address = parts.path if parts.scheme == "unix" else (parts.hostname or "localhost", parts.port or 2375)
        self._version = ""  # of the API
        self._is_negotiated = False
        self._product, self._unit = product_at(base_url)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take the dialect from the headers of a response."""
        self.dialect = dialect_of(headers, self.dialect)

    def version(self) -> str:
        """Return the negotiated version of the API."""
        if not self._is_negotiated:
            self.negotiate("reach Docker")
        return self._version

    def renegotiate(self) -> None:
        """Negotiate the version of the API again before the next call: the daemon may have been upgraded."""
        self._is_negotiated = False

    def call(
        self, method: str, path: str, action: str, *, seconds: float = DEADLINE_SECONDS, **details: Unpack[Details]
    ) -> None:
        """Make one request on its own connection. Errors begin with "cannot ACTION"."""
        with self.connect(action, seconds) as connection:
            self.request(connection, method, path, action, read=True, **details)

    def read(
        self,
        method: str,
        path: str,
        action: str,
        shape: type[T],
        *,
        seconds: float = DEADLINE_SECONDS,
        **details: Unpack[Details],
    ) -> T:
        """As `call`; return the response."""
        with self.connect(action, seconds) as connection:
            return self._decoded(self.request(connection, method, path, action, read=True, **details), action, shape)

    def find(self, path: str, action: str, shape: type[T]) -> T | None:
        """As `read`; return None for what does not exist."""
        with self.connect(action) as connection:
            data = self.request(connection, "GET", path, action, read=True, tolerated={NOT_FOUND})
            return None if connection.status == NOT_FOUND else self._decoded(data, action, shape)

    def exchange(
        self, method: str, path: str, action: str, *, seconds: float = DEADLINE_SECONDS, **details: Unpack[Details]
    ) -> tuple[int, Any]:
        """As `call`; return the status as well."""
        with self.connect(action, seconds) as connection:
            data = self.request(connection, method, path, action, read=True, **details)
            return connection.status, self._decoded(data, action, Any) if data else None

    def request(
        self,
        connection: Connection,
        method: str,
        path: str,
        action: str,
        *,
        read: bool = False,
        **details: Unpack[Details],
    ) -> bytes:
        """Return when the headers of the response have arrived, and with `read` its body. A status from 400 is an error, which
        closes the connection."""
        body = details.get("body")
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"Host": "docker", "Content-Length": str(len(content)), **details.get("headers", {})}
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        target = path if path.startswith("/v") else f"/v{self._version}{path}"
        try:
            with traced(method, target) as answer:
                status = answer.status = connection.request(method, target, headers, content)
                self.learn(connection.headers)
                data = connection.body() if read or status >= 400 else b""
        except (OSError, InvalidResponse) as error:
            connection.close()
            self.renegotiate()
            late = isinstance(error, TimeoutError)
            cause = (
                f"{self._product} did not respond in time" if late else f"the connection to {self._product} was lost"
            )
            raise RuntimeUnavailable(
                f"cannot {action}: {cause}", f"check it with systemctl status {self._unit}"
            ) from error
        if status >= 400 and status not in details.get("tolerated", ()):
            connection.close()
            kind = NotFoundError if status == NOT_FOUND else ConductorError
            raise kind(f"cannot {action}: {error_message(data) or f'{self._product} returned {status}'}")
        return data

    def _decoded(self, data: bytes, action: str, shape: type[T]) -> T:
        try:
            return read_json(data, shape)
        except MalformedResponse as error:
            raise error.error(f"cannot {action}", self._product) from error

    def connect(self, action: str, seconds: float = DEADLINE_SECONDS) -> Connection:
        """Return a new connection, whose deadline is `seconds` from now."""
        if not self._is_negotiated:
            self.negotiate(action, seconds)
        return self._open(seconds)

    def _open(self, seconds: float) -> Connection:
        try:
            return Connection(self._address, seconds)
        except OSError as error:
            self.renegotiate()
            raise unreachable(self.base_url, error) from error

    def negotiate(self, action: str, seconds: float = DEADLINE_SECONDS) -> None:
        """Agree with the daemon on a version of the API, at first on the newest that Conductor knows. Every response has the
        daemon's newest one in a header; its oldest one is only in the response to `/version`, which takes the daemon longer."""
        with self._open(seconds) as connection:
            self.request(connection, "GET", f"/v{NEWEST_API}/_ping", action, tolerated={UNSUPPORTED}, read=True)
        header = json.dumps({"ApiVersion": connection.headers.get("api-version", API)}).encode()
        found = self._decoded(header, action, Version)
        if connection.status == UNSUPPORTED and negotiated(found) == NEWEST_API:
            with self._open(seconds) as connection:
                found = self._decoded(self.request(connection, "GET", "/version", action, read=True), action, Version)
        self._version, self._is_negotiated = negotiated(found), True


def unreachable(base_url: str, error: OSError) -> ConductorError:
    """Return the error for a daemon to which no connection could be made. Missing permission is not `RuntimeUnavailable`."""
    product, unit = product_at(base_url)
    cannot = f"cannot reach {product} at {base_url}"
    if isinstance(error, PermissionError):
        return RuntimeDenied(f"{cannot}: permission denied", "run as root or as a member of the docker group")
    if error.errno in {errno.ENOENT, errno.ECONNREFUSED}:
        hint = f"start it with systemctl start {unit}   (or correct host.docker)"
        return RuntimeUnavailable(f"{cannot}: {product} is not running", hint)
    return RuntimeUnavailable(f"{cannot}: {error.strerror or error}", f"check it with systemctl status {unit}")


def error_message(data: bytes) -> str:
    """Return the daemon's error message, or an empty string when the body has none."""
    try:
        return message(read_json(data, Error).message)
    except MalformedResponse:
        return ""
