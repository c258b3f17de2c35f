"""From a tree to a typed definition: what fits the model and its rules, or everything that is wrong with it (pure)."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from conductor.definitions.explain import convert, explain
from conductor.definitions.model import Definition, Host, Service
from conductor.definitions.problems import Problem
from conductor.definitions.rules import SERVICE_RULES, host_rules
from conductor.definitions.tree import Node, Path, find, plain, under

_FORMAT = 1
# A change of these needs no new container: Conductor itself acts on them, and the address picked is not the range.
_OUTSIDE = {
    "count", "health", "nginx", "before_upgrade", "console", "cron", "notify", "order", "port", "publish",
}  # fmt: skip


def build_service(
    file: str, service_id: str, node: Node, known: Iterable[Problem]
) -> tuple[Definition | None, list[Problem]]:
    """The definition, or None and all problems; `known` are those that the text itself has."""
    problems = list(known)
    written = plain(node)
    try:
        service = convert(written, Service)
    except msgspec.ValidationError as error:
        service = None
        told = {problem.key for problem in problems}
        problems += [Problem(file, *found) for found in explain(node, Service) if found[1] not in told]
        if (
            not problems
        ):  # the walk knows every refusal of msgspec's; should it miss one, its words are better than none
            problems.append(Problem(file, node.line, node.key, str(error)))
    problems += _against_rules(file, service_id, node, problems)
    if service is None or problems:
        return None, problems
    return Definition(id=service_id, service=service, written=written, digest=digest(written)), problems


def build_host(file: str, node: Node, known: Iterable[Problem]) -> tuple[Host | None, list[Problem]]:
    """The host, or None and the problems of its rules; `known` are those that the text or the model has with it."""
    if any(within(problem.key, "host") for problem in known):
        return None, []
    host: Host = convert(plain(node), Host)
    places = [(find(node, path), sentence) for path, sentence in host_rules(host)]
    problems = [Problem(file, place.line, place.key, sentence) for place, sentence in places]
    return (None if problems else host), problems


def digest(written: dict[str, Any]) -> str:
    """16 hex digits over what reaches the container, as written: built-in defaults may change, digests do not."""
    reaching = {key: value for key, value in written.items() if key not in _OUTSIDE}
    canonical = json.dumps({"format": _FORMAT, **reaching}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def within(key: str, base: str) -> bool:
    """Whether a key path is `base` or stands inside it."""
    return key == base or key.startswith((base + ".", base + "["))


def _against_rules(file: str, service_id: str, node: Node, problems: list[Problem]) -> Iterator[Problem]:
    """What the rules say about the keys that are sound."""
    if not isinstance(node.value, dict):
        return
    base = f"services.{service_id}"
    broken = {_first(problem.key, base) for problem in problems}
    sound = {key: plain(inner) for key, inner in node.value.items() if key not in broken}
    try:
        service = convert({"image": "unknown", **sound}, Service)
    except msgspec.ValidationError:
        return
    for keys, rule in SERVICE_RULES:
        if keys.isdisjoint(broken):
            for path, sentence in rule(service, sound):
                place = find(node, path)
                key = place.key if len(keys) == 1 else _key(base, path)
                yield Problem(file, place.line, key, sentence)


def _first(key: str, base: str) -> str:
    """The service's key that a problem is about, wherever it was written."""
    return key.removeprefix(f"{base}.").removeprefix("defaults.").split(".")[0].split("[")[0]


def _key(base: str, path: Path) -> str:
    for name in path:
        base = under(base, name)
    return base
