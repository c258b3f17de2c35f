"""`--plan`: the very steps that an upgrade would walk, and what would differ afterwards; nothing is done."""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from conductor.change.doors import Doors
from conductor.definitions.load import restore
from conductor.plan.moves import Move
from conductor.plan.steps import steps
from conductor.proxy.render import Site
from conductor.report.events import Finished, Told

CONTEXT_LINES = 2


def preview(doors: Doors, moves: Sequence[Move], began: float) -> Finished:
    """Tell the steps, then for each service the difference of its definition and of what nginx includes."""
    for step in steps(moves):
        doors.report.emit(Told(f"{step.name:>8}  {step.text}"))
    for move in moves:
        was = move.old.release.definition if move.old.release else {}
        name = f"definition of {move.definition.id}"
        _tell(doors, name, _lines(was), _lines(move.definition.written))
    sites = tuple(_site(move) for move in moves if move.through_nginx)
    for name, (text, present) in sorted(doors.proxy.texts(sites).items() if sites else ()):
        _tell(doors, f"{doors.host.nginx.include_dir}/{name}", (present or "").splitlines(), text.splitlines())
    return Finished("this is the plan; nothing was done", doors.clock.monotonic() - began, 0, 0)


def _site(move: Move) -> Site:
    """New containers have no address yet: `new-N` stands for each. A service that leaves nginx answers 503."""
    if move.definition.service.nginx is None and move.old.release:
        return Site(restore(move.definition.id, move.old.release.definition), ())
    port = move.definition.service.port or 0
    return Site(move.definition, tuple(f"new-{n}:{port}" for n in range(1, move.count + 1)))


def _lines(definition: Mapping[str, Any]) -> list[str]:
    """As indented JSON, with keys in one order; secrets are references."""
    return json.dumps(definition, indent=2, sort_keys=True, ensure_ascii=False).splitlines() if definition else []


def _tell(doors: Doors, name: str, before: list[str], after: list[str]) -> None:
    for line in difflib.unified_diff(before, after, f"{name} (now)", f"{name} (then)", n=CONTEXT_LINES, lineterm=""):
        doors.report.emit(Told(line))
