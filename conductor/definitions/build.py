"""Build typed definitions from trees, or collect every problem that prevents it (pure)."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from conductor.definitions.explain import convert, explain
from conductor.definitions.host import Host
from conductor.definitions.model import Definition, Service
from conductor.definitions.problems import Problem
from conductor.definitions.rules import SERVICE_RULES, host_rules
from conductor.definitions.tree import Node, Path, child_key, find, plain

_DIGEST_FORMAT = 1
# Conductor itself acts on these keys, so a running container stays valid when they change. For `publish`, the container
# gets one port, not the range.
_NOT_IN_DIGEST = {
    "count", "health", "nginx", "canary", "before_upgrade", "before_stop", "console", "cron", "notify", "order", "port",
    "publish",
}  # fmt: skip


def build_service(
    file: str, service_id: str, node: Node, known: Iterable[Problem], *, rules: bool = True
) -> tuple[Definition | None, list[Problem]]:
    """Return the definition, or None and all its problems, including the `known` ones that were found before.

    Without `rules`, only the types of single values are checked.
    """
    problems = list(known)
    written = plain(node)
    try:
        service = convert(written, Service)
    except msgspec.ValidationError as error:
        service = None
        reported = {problem.key for problem in problems}
        problems += [Problem(file, *finding) for finding in explain(node, Service) if finding[1] not in reported]
        if not problems:  # `explain` should find every error of msgspec's; msgspec's own message is the fallback
            problems.append(Problem(file, node.line, node.key, str(error)))
    if rules:
        problems += _rule_problems(file, service_id, node, problems, None if problems else service)
    if service is None or problems:
        return None, problems
    return Definition(id=service_id, service=service, written=written, digest=digest(written)), problems


def build_host(file: str, node: Node, known: Iterable[Problem]) -> tuple[Host | None, list[Problem]]:
    """Return the host, or None and the problems that its rules find. With a `known` problem, the rules do not run."""
    if any(is_at_or_below(problem.key, "host") for problem in known):
        return None, []
    host: Host = convert(plain(node), Host)
    places = [(find(node, path), sentence) for path, sentence in host_rules(host)]
    problems = [Problem(file, place.line, place.key, sentence) for place, sentence in places]
    return (None if problems else host), problems


def digest(written: dict[str, Any]) -> str:
    """Return 16 hex digits over the keys that reach the container, as written.

    Built-in defaults are left out, so that a release of Conductor with other defaults changes no digest.
    """
    included = {key: value for key, value in written.items() if key not in _NOT_IN_DIGEST}
    canonical = json.dumps({"format": _DIGEST_FORMAT, **included}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def is_at_or_below(key: str, base: str) -> bool:
    """Return whether the key path `key` is `base` or below it."""
    return key == base or key.startswith((base + ".", base + "["))


def _rule_problems(
    file: str, service_id: str, node: Node, problems: list[Problem], service: Service | None
) -> Iterator[Problem]:
    """Check the rules whose keys have no problem yet. `service` is None if a key has one."""
    if not isinstance(node.value, dict):
        return
    base = f"services.{service_id}"
    broken = {_service_key(problem.key, base) for problem in problems}
    valid = {key: plain(inner) for key, inner in node.value.items() if key not in broken}
    try:
        service = service or convert({"image": "unknown", **valid}, Service)
    except msgspec.ValidationError:
        return
    for keys, rule in SERVICE_RULES:
        if keys.isdisjoint(broken):
            for path, sentence in rule(service, valid):
                place = find(node, path)
                # The place may be in `defaults`, which names no service; a rule about several keys needs the name.
                key = place.key if len(keys) == 1 else _key_path(base, path)
                yield Problem(file, place.line, key, sentence)


def _service_key(key: str, base: str) -> str:
    """Return the key of the service that a problem is about, whether it was written in the service or in `defaults`."""
    return key.removeprefix(f"{base}.").removeprefix("defaults.").split(".")[0].split("[")[0]


def _key_path(base: str, path: Path) -> str:
    for name in path:
        base = child_key(base, name)
    return base
