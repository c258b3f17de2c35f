"""Finds upstreams to which no server block passes requests, or a block without Conductor's files, in nginx's whole
configuration (pure).

nginx refuses `proxy_pass http://NAME` without an upstream NAME, but accepts `proxy_pass http://NAME$request_uri`: it looks
the name up at each request, and answers 502.
"""

import re
from collections.abc import Collection, Iterable

from conductor.traffic import grammar

OWN_FILE = "_conductor.conf"  # Conductor's file with no service; no service id starts with "_"
# Where an operator's server block includes Conductor's files.
WHERE = {
    "server.inc": "add this line to each server block that passes requests to a service",
    "location.inc": "make this the first line of each location that passes requests to a service",
}
_PASS = {f"{protocol}_pass" for protocol in ("proxy", "grpc", "fastcgi", "uwsgi", "scgi", "memcached")}
_TARGET = re.compile(r"(?:[a-z]+://)?(?P<host>[^/:$?]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_OF_THE_REQUEST = re.compile(r"\$\{?(request_uri|uri|document_uri|is_args|args)\b")
_COMPUTED = re.compile(r"(?<!balancer)(?<!log)_by_lua|\bjs_")  # code can choose an upstream


def upstreams(text: str) -> set[str]:
    """Return the names of the upstreams that a text of nginx's configuration defines, in lower case."""
    return {one.arguments[0].lower() for one in grammar.everywhere(text) if one.name == "upstream" and one.arguments}


def passed(dump: str) -> set[str]:
    """Return the hosts to which server blocks pass requests, in lower case: upstreams, and names that are none."""
    return _targets(grammar.everywhere(dump))


def _targets(directives: Iterable[grammar.Directive]) -> set[str]:
    found = (one.arguments[0] for one in directives if one.name in _PASS and one.arguments)
    return {target["host"].lower() for text in found if (target := _TARGET.fullmatch(text))}


def half_included(dump: str, include_dir: str, upstreams: Collection[str]) -> dict[str, str]:
    """Return the `upstreams` with a server block that includes one of Conductor's two files and not the other, each with a
    sentence. nginx accepts this if another block includes both, but the block does not announce a reload."""
    found: dict[str, str] = {}
    for block in grammar.servers(dump):
        paths = {one.path for one in block}
        missing = [name for name in WHERE if f"{include_dir}/{name}" not in paths]
        if len(missing) == 1:
            line = f"include {include_dir}/{missing[0]};"
            text = f"a server block in {block[0].path} is missing an include; {WHERE[missing[0]]}:  {line}"
            found |= dict.fromkeys(_targets(block), text)
    return {name: found[name.lower()] for name in upstreams if name.lower() in found}


def unreferenced(dump: str, upstreams: Collection[str]) -> dict[str, str]:
    """Return the `upstreams` that get no requests, each with a sentence; none of them if a variable or code names an upstream."""
    directives = grammar.everywhere(dump)
    known = {one.arguments[0].lower() for one in directives if one.name == "upstream" and one.arguments}
    passed: set[str] = set()
    wrong: list[str] = []
    for one in directives:
        found = _TARGET.fullmatch(one.arguments[0]) if one.name in _PASS and one.arguments else None
        if found is None:
            continue
        host, rest = found["host"].lower(), found["rest"]
        if rest.startswith("$") and (not host or not _OF_THE_REQUEST.match(rest)):
            return {}
        passed.add(host)
        if "$" in rest and host not in known and "." not in host and host not in {"localhost", "unix"}:
            wrong.append(f"{one.path} passes requests to {found['host']}, which is not an upstream")
    if any(_COMPUTED.search(one.name) for one in directives if not one.path.endswith(f"/{OWN_FILE}")):
        return {}
    hint = "".join(f"; {text}" for text in dict.fromkeys(wrong))
    return {
        name: f"no server block passes requests to the upstream {name}{hint}"
        for name in upstreams
        if name.lower() not in passed
    }
