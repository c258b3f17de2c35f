"""The definitions file, read and judged: the good services, and everything that is wrong with the others.

The one door to definition files. A broken service does not stop commands on another one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from conductor.definitions.build import build_host, build_service, within
from conductor.definitions.conflicts import clashes
from conductor.definitions.explain import explain
from conductor.definitions.model import Definition, File, Host, Service
from conductor.definitions.problems import DefinitionsError, Problem, in_order, nearest
from conductor.definitions.tree import NOTHING, Node, find, merge, odd_text, tree
from conductor.definitions.yaml_reader import read
from conductor.errors import UsageError


class Definitions(msgspec.Struct, frozen=True):
    """One file: `services` are the good ones, `ids` all of them in the file's order, `problems` those of the whole file."""

    path: Path
    host: Host
    ids: tuple[str, ...]
    services: dict[str, Definition]
    problems: tuple[Problem, ...]
    broken: dict[str, tuple[Problem, ...]]

    def service(self, service_id: str) -> Definition:
        """The definition of a service; `UsageError` when it is unknown, `DefinitionsError` with its own problems."""
        if service_id in self.services:
            return self.services[service_id]
        if service_id in self.broken:
            raise DefinitionsError(f'service "{service_id}"', self.broken[service_id])
        self.require_known(service_id, ())
        raise AssertionError

    def require_known(self, service_id: str, also: "tuple[str, ...]") -> None:
        if service_id in self.ids or service_id in also:
            return
        near = nearest(service_id, self.ids)
        hint = f"did you mean {near}?" if near else f"it has {', '.join(self.ids) or 'no services'}"
        raise UsageError(f'cannot find service "{service_id}": not in {self.path}', hint=hint)


def load(path: Path) -> Definitions:
    """Read a file. Raises only where nothing of it can be used: unreadable, no YAML, another version, a broken host."""
    file = str(path)
    root, problems = read(_text(path), file)
    odd_text(root, lambda *finding: problems.append(Problem(file, *finding)))
    if isinstance(root.value, dict):
        root = root._replace(value={name: node for name, node in root.value.items() if node.value is not None})
    problems += [Problem(file, *finding) for finding in explain(root, File)]
    top = root.value
    if not isinstance(top, dict) or any(problem.key == "version" for problem in problems):
        raise DefinitionsError(file, [problem for problem in problems if problem.key in {"", "version"}])
    defaults = merge(NOTHING, top.get("defaults", NOTHING))
    problems += [Problem(file, *finding) for finding in explain(defaults, Service, partial=True)]
    services = top.get("services", NOTHING).value
    trees = (
        {service_id: merge(defaults, node) for service_id, node in services.items()}
        if isinstance(services, dict)
        else {}
    )
    definitions, broken = _services(file, trees, problems)
    host, host_problems = build_host(file, merge(NOTHING, top.get("host", Node({}, "host"))), problems)
    everything = in_order([*problems, *host_problems, *(problem for those in broken.values() for problem in those)])
    if host is None:
        raise DefinitionsError(file, everything)
    return Definitions(path, host, tuple(trees), definitions, everything, broken)


def restore(service_id: str, written: dict[str, Any]) -> Definition:
    """A definition from what was stored of it (`Definition.written`); `DefinitionsError` as for a file."""
    file, key = "stored definition", f"services.{service_id}"
    node = merge(NOTHING, tree(written, key))
    problems: list[Problem] = []
    shell = Node({"version": Node(1, "version"), "services": Node({service_id: node}, "services")}, "")
    problems += [Problem(file, *finding) for finding in explain(shell, File)]
    odd_text(shell, lambda *finding: problems.append(Problem(file, *finding)))
    definition, found = build_service(file, service_id, node, problems)
    if definition is None:
        raise DefinitionsError(f'the stored definition of "{service_id}"', found)
    return definition


def _services(
    file: str, trees: Mapping[str, Node], problems: list[Problem]
) -> tuple[dict[str, Definition], dict[str, tuple[Problem, ...]]]:
    """Good and broken ones; what is wrong outside services and host (`defaults`, a stray key) breaks all of them."""
    shared = [
        problem for problem in problems if not within(problem.key, "host") and not problem.key.startswith("services.")
    ]
    good: dict[str, Definition] = {}
    broken: dict[str, list[Problem]] = {}
    for service_id, node in trees.items():
        known = [problem for problem in problems if within(problem.key, f"services.{service_id}")]
        definition, found = build_service(file, service_id, node, [*shared, *known])
        if definition:
            good[service_id] = definition
        else:
            broken[service_id] = found
    for service_id, path, sentence in list(clashes(good.values())):
        key = ".".join(("services", service_id, *map(str, path)))
        broken.setdefault(service_id, []).append(Problem(file, find(trees[service_id], path).line, key, sentence))
        good.pop(service_id, None)
    return good, {service_id: in_order(found) for service_id, found in broken.items()}


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DefinitionsError(
            str(path), [Problem(str(path), line, "", "is not UTF-8: save the file as UTF-8")]
        ) from None
    except FileNotFoundError:
        hint = "write it (`conductor config example` shows one), or name another with --config"
        raise UsageError(f"cannot read {path}: it does not exist", hint=hint) from None
    except PermissionError:
        hint = "run as root, or as a user who may read it"
        raise UsageError(f"cannot read {path}: permission denied", hint=hint) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
