"""What services of one host must not share: upstream names, and server blocks of Conductor's (pure)."""

from collections.abc import Iterable, Iterator

from conductor.definitions.model import Definition
from conductor.definitions.tree import Path

_OWN = "conductor"  # our own servers and variables begin with it


def clashes(definitions: Iterable[Definition]) -> Iterator[tuple[str, Path, str]]:
    """(id, path, sentence) for each; both sides of a clash are told, since neither is known to be the right one."""
    served = [definition for definition in definitions if definition.service.nginx]
    for definition in served:
        if definition.upstream.lower().startswith(_OWN):
            yield definition.id, ("nginx", "upstream"), f"must not start with {_OWN}: such names are our own"
    yield from _twice(
        ((one.upstream.lower(), one.id) for one in served), ("nginx", "upstream"), "is also the upstream of"
    )
    places = ((place, one.id) for one in served for place in dict.fromkeys(_places(one)))
    yield from _twice(places, ("nginx", "server"), "has a listen and a name in common with")


def _twice(claims: Iterable[tuple[object, str]], path: Path, sentence: str) -> Iterator[tuple[str, Path, str]]:
    first: dict[object, str] = {}
    for claim, service in claims:
        other = first.setdefault(claim, service)
        if other != service:
            yield other, path, f"{sentence} {service}"
            yield service, path, f"{sentence} {other}"


def _places(definition: Definition) -> Iterator[tuple[str, str]]:
    """Where its server block answers: socket and host name (nginx compares both after this much tidying)."""
    nginx = definition.service.nginx
    if nginx is None or nginx.server is None:
        return
    for listen in nginx.server.listen:
        socket = next(iter(listen.split()), "").removeprefix("0.0.0.0:").removeprefix("*:")
        for name in nginx.server.names:
            yield socket, name.lower()
