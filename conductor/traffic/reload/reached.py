"""Finds the names of a service whose requests another server block answers, by asking through nginx's own listeners.

nginx only warns when two server blocks have the same address and name. What cannot be asked proves nothing: a regular
expression as a name, a unix socket, an address of another host, a listener that requires a client certificate.
"""

import ipaddress
from collections.abc import Callable, Collection, Iterator, Set
from typing import NamedTuple

from conductor.clock import Clock
from conductor.definitions.listen import host_and_port
from conductor.definitions.model import Server
from conductor.http import Connection, InvalidResponse, own_address
from conductor.plan.route import Route
from conductor.traffic.port import Unreached

PATH = "/.conductor-generation"  # answered by server.inc, which every server block of Conductor's own template includes
HEADER = "Conductor-Generation"
ASK_SECONDS = 1.0  # for one request: a local answer takes milliseconds
ALL_SECONDS = 2.0
# Status codes that nginx sends before it chooses a location: no client certificate, or HTTP on a port with TLS.
_BEFORE_LOCATION = {400, 421}
_OTHER_PROTOCOLS = {"quic", "proxy_protocol"}


class Question(NamedTuple):
    """One request: to an address of this host, for a name, with or without TLS."""

    host: str
    port: int
    name: str
    tls: bool


Ask = Callable[[Question, str], bool | None]


def ask(question: Question, generation: str) -> bool | None:
    """Return whether a server block of Conductor with this generation answers; None when the answer proves nothing."""
    headers = {"Host": question.name, HEADER: generation, "User-Agent": "conductor", "Connection": "close"}
    address = (question.host, question.port)
    try:
        with Connection(address, ASK_SECONDS, tls_name=question.name if question.tls else None) as connection:
            if not _is_local(connection.socket.getsockname()[0], connection.socket.getpeername()[0]):
                return None
            status = connection.request("GET", PATH, headers)
            if status in _BEFORE_LOCATION:
                return None
            return status == 200 and connection.body(len(generation) + 1) == generation.encode()
    except (OSError, InvalidResponse):
        return None


def _is_local(own: str, peer: str) -> bool:
    """True for a connection within this host. The address of another host can be in `listen`, for a failover."""
    return own == peer or ipaddress.ip_address(peer).is_loopback


def unreached(
    routes: Collection[Route], generation: str, ignored: Set[str], clock: Clock, ask: Ask = ask
) -> tuple[Unreached, ...]:
    """Return what other server blocks answer. `ignored` are the names that nginx has warned about, in lower case.

    Server blocks of an operator's template are not asked: they need not have the location that answers.
    """
    until = clock.monotonic() + ALL_SECONDS

    def in_time(question: Question) -> bool | None:
        return ask(question, generation) if clock.monotonic() < until else None

    found: list[Unreached] = []
    for route in routes:
        nginx = route.definition.service.nginx
        server = nginx.server if nginx and route.endpoints else None
        if server is None or server.template is not None:
            continue
        answers = {pair: _reached(map(in_time, asked)) for pair, asked in _questions(server).items()}
        redirects = {listen.split()[0] for listen in server.redirect_listen}
        own = [ok for (address, _), ok in answers.items() if address not in redirects]
        everything = all(ok is False for ok in own) and ignored >= {*map(str.lower, server.names)}
        found += [
            Unreached(service=route.service, name=name, address=address, everything=everything)
            for (address, name), ok in answers.items()
            if ok is False
        ]
    return tuple(found)


def _reached(answers: Iterator[bool | None]) -> bool | None:
    """Return True after the first answer that is; False only when every address gave another one."""
    others = []
    for answer in answers:
        if answer:
            return True
        others.append(answer)
    return None if None in others or not others else False


def _questions(server: Server) -> dict[tuple[str, str], list[Question]]:
    """Return a request for each address and name of the server blocks; none for one that cannot be requested."""
    found: dict[tuple[str, str], list[Question]] = {}
    for listen in (*server.listen, *server.redirect_listen):
        address, *parameters = listen.split()
        for name in server.names:
            found[address, name] = [
                Question(host, port, asked, "ssl" in parameters)
                for host, port in _addresses(address)
                for asked in _asked_name(name)
                if _OTHER_PROTOCOLS.isdisjoint(parameters)
            ]
    return found


def _addresses(address: str) -> list[tuple[str, int]]:
    """Return the addresses of this host on which to request the server blocks of a `listen` address.

    For one that listens on every address, these are two: on 127.0.0.1 alone, another server block may listen by itself.
    """
    place = host_and_port(address)
    if place is None or not place[1].isdecimal():
        return []
    host, port = place
    hosts = {"*": ("127.0.0.1", own_address()), "0.0.0.0": ("127.0.0.1", own_address()), "[::]": ("::1",)}  # noqa: S104 (what nginx listens on, not Conductor)
    return [(one, int(port)) for one in hosts.get(host, (host.strip("[]"),)) if one]


def _asked_name(name: str) -> list[str]:
    """Return a host name that `name` matches; none for a regular expression, a variable or a name that no client sends."""
    if name.startswith(("~", "_")) or "$" in name:
        return []
    return [name.replace("*", "conductor-check").removeprefix(".")]
