"""`--plan`: the very steps that an upgrade would walk, and what would differ afterwards; nothing is done."""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from conductor.change.context import Context
from conductor.definitions.load import restore
from conductor.output.events import Finished, Told
from conductor.plan.steps import steps
from conductor.plan.transition import Transition
from conductor.traffic.render import Route

CONTEXT_LINES = 2


def preview(context: Context, transitions: Sequence[Transition], began: float) -> Finished:
    """Tell the steps, then for each service the difference of its definition and of what nginx includes."""
    for step in steps(transitions):
        context.report.emit(Told(f"{step.name:>8}  {step.text}"))
    for transition in transitions:
        was = transition.old.release.definition if transition.old.release else {}
        name = f"definition of {transition.definition.id}"
        _tell(context, name, _lines(was), _lines(transition.definition.written))
    routes = tuple(_route(transition) for transition in transitions if transition.through_nginx)
    for name, (text, present) in sorted(context.traffic.texts(routes).items() if routes else ()):
        _tell(context, f"{context.host.nginx.include_dir}/{name}", (present or "").splitlines(), text.splitlines())
    return Finished("this is the plan; nothing was done", context.clock.monotonic() - began, 0, 0)


def _route(transition: Transition) -> Route:
    """New containers have no address yet: `new-N` stands for each. A service that leaves nginx answers 503."""
    if transition.definition.service.nginx is None and transition.old.release:
        return Route(restore(transition.definition.id, transition.old.release.definition), ())
    port = transition.definition.service.port or 0
    return Route(transition.definition, tuple(f"new-{n}:{port}" for n in range(1, transition.count + 1)))


def _lines(definition: Mapping[str, Any]) -> list[str]:
    """As indented JSON, with keys in one order; secrets are references."""
    return json.dumps(definition, indent=2, sort_keys=True, ensure_ascii=False).splitlines() if definition else []


def _tell(context: Context, name: str, before: list[str], after: list[str]) -> None:
    for line in difflib.unified_diff(before, after, f"{name} (now)", f"{name} (then)", n=CONTEXT_LINES, lineterm=""):
        context.report.emit(Told(line))
