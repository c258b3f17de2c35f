"""Load the definitions file: the valid services, and all problems of the others.

This is the only module that reads definitions files. A broken service does not block commands on another one.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from conductor.definitions.build import build_host, build_service, digest, is_at_or_below
from conductor.definitions.conflicts import conflicts
from conductor.definitions.explain import explain, fits, without_unknown
from conductor.definitions.fleet import fleet_refusals
from conductor.definitions.grammar import ServiceId
from conductor.definitions.host import Host
from conductor.definitions.json_reader import read_json
from conductor.definitions.model import Definition, File, Service
from conductor.definitions.problems import DefinitionsError, Problem, in_order, nearest
from conductor.definitions.rules import health_kinds
from conductor.definitions.tree import (
    EMPTY,
    Node,
    child_key,
    find,
    merge,
    plain,
    replaced,
    tree,
    unwritable_texts,
)
from conductor.errors import UsageError

_LISTS_OF_TEXTS = (("nginx", "server", "listen"), ("nginx", "server", "names"), ("health", "status"))
_NEVER_NULL = {"version", "services"}


class Definitions(msgspec.Struct, frozen=True):
    """One definitions file.

    `ids` are all its services, in the file's order. `services` are the valid ones, `broken` the others with their
    problems. `problems` are those of the whole file.
    """

    path: Path
    host: Host
    ids: tuple[str, ...]
    services: dict[str, Definition]
    problems: tuple[Problem, ...]
    broken: dict[str, tuple[Problem, ...]]

    def service(self, service_id: str) -> Definition:
        """Return a definition. Raise `UsageError` if it is unknown, `DefinitionsError` if it is broken."""
        self.require_known(service_id)
        if service_id in self.broken:
            raise DefinitionsError(f'service "{service_id}"', self.broken[service_id])
        return self.services[service_id]

    def require_known(self, service_id: str, also: Collection[str] = ()) -> None:
        """Raise `UsageError` unless the service is in this file, valid or broken, or in `also`."""
        if service_id in self.ids or service_id in also:
            return
        near = nearest(service_id, self.ids)
        hint = f"did you mean {near}?" if near else f"define it there, or use one of: {', '.join(self.ids) or '(none)'}"
        raise UsageError(f'cannot find service "{service_id}": it is not in {self.path}', hint=hint)


def load(path: Path) -> Definitions:
    """Return the definitions in a file. Raise `UsageError` if the file cannot be read, and as `parse` does."""
    return parse(_read(path), path)


def parse(data: bytes, path: Path, name: str = "") -> Definitions:
    """Return the definitions in the contents of the file at `path`; problems are those of `name`, by default of that file.

    Raise `DefinitionsError` if none of it can be used: it is not valid YAML, it has another version, its host section is
    broken, or a problem outside of single services and `defaults` means that services may be missing from it.
    """
    file = name or str(path)
    text = _decoded(data, file)
    if (root := read_json(text)) is not None:
        with contextlib.suppress(DefinitionsError):
            found = _definitions(root, [], path, file)
            if not found.problems:
                return found
    from conductor.definitions.yaml_reader import read  # imported here because a valid JSON file needs no YAML

    return _definitions(*read(text, file), path, file)


def _definitions(root: Node, problems: list[Problem], path: Path, file: str) -> Definitions:
    """Return the definitions in the tree of a whole file, and all problems, including those that the reader found."""
    problems += [Problem(file, *finding) for finding in unwritable_texts(root)]
    if isinstance(root.value, dict):
        kept = {name: node for name, node in root.value.items() if node.value is not None or name in _NEVER_NULL}
        root = root._replace(value=kept)
    root = _with_lists(root)
    problems += [Problem(file, *finding) for finding in explain(root, File)]
    top = root.value
    if not isinstance(top, dict) or any(problem.key == "version" for problem in problems):
        another = isinstance(top, dict) and "version" in top  # with keys that this version does not know
        raise DefinitionsError(file, [one for one in problems if not another or one.key in {"", "version"}])
    defaults = merge(EMPTY, top.get("defaults", EMPTY))
    problems += [Problem(file, *finding) for finding in explain(defaults, Service, partial=True)]
    services = top.get("services", EMPTY).value
    trees = (
        {service_id: merge(defaults, node) for service_id, node in services.items()}
        if isinstance(services, dict)
        else {}
    )
    host, host_problems = build_host(file, merge(EMPTY, top.get("host", Node({}, "host"))), problems)
    definitions, broken = _services(file, trees, problems, on_fleet=host is not None and host.fleet is not None)
    all_problems = in_order([*problems, *host_problems, *(problem for found in broken.values() for problem in found)])
    if host is None or any(_is_of_the_whole_file(problem.key, trees) for problem in problems):
        raise DefinitionsError(file, all_problems)
    return Definitions(path, host, tuple(trees), definitions, all_problems, broken)


def restore(service_id: str, written: dict[str, Any], defined: Definition | None = None) -> Definition:
    """Return a definition from its stored form (`Definition.written`), which another version may have stored.

    Unlike in a file, unknown keys have no effect and are listed in `Definition.unknown`, and no rule about several keys
    is checked: the version that stored the definition checked its own rules. Raise `DefinitionsError` if a value has a
    wrong type.

    `defined` is the definition in the file, if there is one. It is returned if nothing in it has changed since.
    """
    if defined is not None and defined.written == written:
        return defined
    file = "stored definition"
    node = merge(EMPTY, tree(written, f"services.{service_id}"))
    known, unknown = (node, []) if fits(node, Service) else without_unknown(node, Service)
    services = Node({service_id: known}, "services")
    findings = (*explain(services, dict[ServiceId, Any]), *unwritable_texts(services))
    problems = [Problem(file, *finding) for finding in findings]
    definition, found = build_service(file, service_id, known, problems, rules=False)
    if definition is None:
        raise DefinitionsError(f'the stored definition of "{service_id}"', found)
    if unknown:
        stored = plain(node)
        definition = msgspec.structs.replace(definition, written=stored, digest=digest(stored), unknown=tuple(unknown))
    service, health = definition.service, definition.service.health
    if health is not None and not health_kinds(health):  # a newer version has another kind of check
        service = msgspec.structs.replace(service, health=msgspec.structs.replace(health, none=True))
    return msgspec.structs.replace(definition, service=service)


def _with_lists(root: Node) -> Node:
    """Return the tree with lists of texts where one value, or a number without quotes, is written instead."""
    services = find(root, ("services",)).value
    for base in (("defaults",), *(("services", name) for name in (services if isinstance(services, dict) else ()))):
        for path in _LISTS_OF_TEXTS:
            root = replaced(root, (*base, *path), _as_list)
    return root


def _as_list(node: Node) -> Node:
    items = node.value if isinstance(node.value, list) else [node._replace(key=child_key(node.key, 0))]
    return node if node.value is None else node._replace(value=[_as_text(item) for item in items])


def _as_text(node: Node) -> Node:
    is_number = isinstance(node.value, int) and not isinstance(node.value, bool)
    return node._replace(value=str(node.value)) if is_number else node


def _is_of_the_whole_file(key: str, services: Iterable[str]) -> bool:
    """Return whether a problem at `key` is outside of the host section, the defaults and every single service."""
    return not any(
        is_at_or_below(key, base) for base in ("host", "defaults", *(f"services.{name}" for name in services))
    )


def _services(
    file: str, trees: Mapping[str, Node], problems: list[Problem], *, on_fleet: bool
) -> tuple[dict[str, Definition], dict[str, tuple[Problem, ...]]]:
    """Return the valid and the broken services. A problem in `defaults` breaks all of them."""
    shared = [problem for problem in problems if is_at_or_below(problem.key, "defaults")]
    valid: dict[str, Definition] = {}
    broken: dict[str, list[Problem]] = {}
    for service_id, node in trees.items():
        own = [problem for problem in problems if is_at_or_below(problem.key, f"services.{service_id}")]
        definition, found = build_service(file, service_id, node, [*shared, *own])
        if definition:
            valid[service_id] = definition
        else:
            broken[service_id] = found
    on_several = (
        [(name, *one) for name, made in valid.items() for one in fleet_refusals(made.service)] if on_fleet else []
    )
    for service_id, path, sentence in [*conflicts(valid.values()), *on_several]:
        key = ".".join(("services", service_id, *map(str, path)))
        broken.setdefault(service_id, []).append(Problem(file, find(trees[service_id], path).line, key, sentence))
        valid.pop(service_id, None)
    return valid, {service_id: in_order(found) for service_id, found in broken.items()}


def _decoded(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = Problem(file, line, "", "not valid UTF-8; save the file as UTF-8")
        raise DefinitionsError(file, [problem]) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        hint = "create it (`conductor config example` prints an example), or name another file with --config"
        raise UsageError(f"cannot read {path}: it does not exist", hint=hint) from None
    except PermissionError:
        hint = "run the command as root, or as a user with read access"
        raise UsageError(f"cannot read {path}: permission denied", hint=hint) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
