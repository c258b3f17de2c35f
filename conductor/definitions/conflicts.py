"""Find services of one host that share an nginx upstream, a server name on one socket, or published ports (pure)."""

from collections.abc import Iterable, Iterator
from itertools import permutations

from conductor.definitions.listen import socket
from conductor.definitions.model import Definition
from conductor.definitions.tree import Path

_RESERVED_PREFIX = "conductor"  # Conductor's own nginx servers and variables start with it


def conflicts(definitions: Iterable[Definition]) -> Iterator[tuple[str, Path, str]]:
    """Yield (service id, path, sentence). A conflict is reported for both services: either may be the wrong one."""
    definitions = list(definitions)
    yield from _overlaps(definitions)
    routed = [definition for definition in definitions if definition.service.nginx]
    for definition in routed:
        if definition.upstream.lower().startswith(_RESERVED_PREFIX):
            sentence = f'must not start with "{_RESERVED_PREFIX}", which is reserved; use another name'
            yield definition.id, ("nginx", "upstream"), sentence
    upstreams = ((definition.upstream.lower(), definition.id) for definition in routed)
    yield from _duplicates(upstreams, ("nginx", "upstream"), "is also the upstream of {}; use another name")
    names = ((name, definition.id) for definition in routed for name in dict.fromkeys(_server_names(definition)))
    yield from _duplicates(
        names, ("nginx", "server"), "has the same listen address and server name as {}; change one of them"
    )


def _overlaps(definitions: Iterable[Definition]) -> Iterator[tuple[str, Path, str]]:
    """Yield the services whose `publish` range has a port of another service's range."""
    ranges = [(one.id, *one.service.publish) for one in definitions if one.service.publish]
    for (service, low, high), (other, other_low, other_high) in permutations(ranges, 2):
        if low <= other_high and other_low <= high:
            sentence = f"overlaps [{other_low}, {other_high}] of {other}; use another range"
            yield service, ("publish",), sentence


def _duplicates(values: Iterable[tuple[object, str]], path: Path, sentence: str) -> Iterator[tuple[str, Path, str]]:
    first: dict[object, str] = {}
    for value, service in values:
        other = first.setdefault(value, service)
        if other != service:
            yield other, path, sentence.format(service)
            yield service, path, sentence.format(other)


def _server_names(definition: Definition) -> Iterator[tuple[str, str]]:
    """Yield the socket and host name pairs of the server blocks, normalised as nginx compares them."""
    nginx = definition.service.nginx
    if nginx is None or nginx.server is None:
        return
    for listen in (*nginx.server.listen, *nginx.server.redirect_listen):
        for name in nginx.server.names:
            yield socket(listen), name.lower()
