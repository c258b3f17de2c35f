"""The port to a central store, the address of a key in one, and HTTP requests to its servers."""

import re
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from conductor.errors import ConductorError, UsageError
from conductor.http import Connection, InvalidResponse

CALL_SECONDS = 3.0  # for one request to one server
_MAX_BYTES = 16 * 2**20  # of a response; no store keeps values this large
_PORTS = {"etcd": 2379, "consul": 8500, "zookeeper": 2181}
_TLS_PORTS = {"etcd": 2379, "consul": 8501}
_HOST = r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?"
_URL = re.compile(rf"(?P<kind>[a-z]+)(?P<tls>\+tls)?://(?P<hosts>{_HOST}(?:,{_HOST})*)/(?P<key>[A-Za-z0-9_./@+=,:~-]+)")


class Address(NamedTuple):
    """A key in a store, as in `etcd://HOST:PORT,HOST:PORT/KEY`. `hosts` are (host, port)."""

    url: str
    kind: str
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    key: str


class Found(NamedTuple):
    """The value of a key. `version` differs after each write to the key."""

    data: bytes
    version: str


class Source(Protocol):
    """A key in a store."""

    def read(self, seen: str | None) -> Found | None:
        """Return the value; None if its version is `seen`. Raise `ConductorError` without an answer or a value.

        May wait some seconds for another version than `seen`.
        """


def parse_address(url: str) -> Address:
    """Return the address of a URL. Raise `UsageError`."""
    found = _URL.fullmatch(url)
    ports = _TLS_PORTS if found and found["tls"] else _PORTS
    if found is None or found["kind"] not in ports:
        hint = "use etcd://HOST:PORT/KEY, consul://HOST:PORT/KEY or zookeeper://HOST:PORT/PATH; for TLS, see conductor help sync"
        raise UsageError(f'cannot use "{url}": it is not the address of a key in a store', hint)
    hosts = tuple(_host(one, ports[found["kind"]]) for one in found["hosts"].split(","))
    return Address(url, found["kind"], bool(found["tls"]), hosts, found["key"])


def _host(written: str, port: int) -> tuple[str, int]:
    host, _, given = written.rpartition(":") if re.search(r":[0-9]+$", written) else (written, "", str(port))
    return host.strip("[]"), int(given)


class Response(NamedTuple):
    """The response of a server; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Servers:
    """The servers of a store that speaks HTTP. The one that answered last is used first."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._hosts = list(address.hosts)

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        seconds: float = CALL_SECONDS,
    ) -> Response:
        """Return the response of the first server that answers with less than 500. Raise `ConductorError` if none does."""
        problems = []
        for host in tuple(self._hosts):
            try:
                with Connection(host, seconds, host[0] if self._address.tls else None, verified=True) as connection:
                    sent = {"Host": f"{host[0]}:{host[1]}", "Content-Length": str(len(body)), **headers}
                    status = connection.request(method, target, sent, body)
                    if status < 500:
                        return Response(status, connection.headers, connection.body(_MAX_BYTES))
                problem = f"HTTP status {status}"
            except (OSError, InvalidResponse) as error:
                problem = getattr(error, "strerror", None) or str(error)
            problems.append(f"{host[0]}:{host[1]}: {problem}")
            self._hosts.remove(host)
            self._hosts.append(host)
        raise unreadable(self._address, "; ".join(problems))


def unreadable(address: Address, cause: str, hint: str = "") -> ConductorError:
    """Return the error for a value that cannot be read."""
    return ConductorError(f"cannot read {address.url}: {cause}", hint)
