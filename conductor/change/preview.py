"""`--plan`: the steps that a change would carry out, and the differences it would make. Nothing is changed."""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from conductor.change.context import Context
from conductor.change.outcome import report_none_running
from conductor.definitions.load import restore
from conductor.output.events import Finished, Notice
from conductor.plan.route import Route
from conductor.plan.steps import steps
from conductor.plan.transition import Transition

CONTEXT_LINES = 2


def preview(context: Context, transitions: Sequence[Transition], began: float) -> Finished:
    """Report the steps, then the differences of definitions and of nginx's files."""
    for step in steps(transitions):
        context.output.emit(Notice(text=f"{step.name:>8}  {step.text}"))
    for transition in transitions:
        before = transition.old.release.definition if transition.old.release else {}
        name = f"definition of {transition.service}"
        _report(context, name, _lines(before), _lines(transition.definition.written))
    routes = [_route(transition) for transition in transitions if transition.routed]
    for file in context.traffic.files(routes) if routes else ():
        _report(context, str(file.path), (file.present or "").splitlines(), file.wanted.splitlines())
    report_none_running(context, transitions)
    return Finished(text="plan only; nothing was changed", seconds=context.clock.monotonic() - began)


def _route(transition: Transition) -> Route:
    """New replicas have no address yet: `new-N` stands for each one."""
    if transition.definition.service.nginx is None and transition.old.release:
        return Route(
            restore(transition.service, transition.old.release.definition), (), transition.old.release.template
        )
    port = transition.definition.service.port or 0
    endpoints = (*transition.endpoints, *(f"new-{n}:{port}" for n in range(1, transition.add + 1)))
    return Route(transition.definition, endpoints, transition.new.live.template, transition.new.maintenance)


def _lines(definition: Mapping[str, Any]) -> list[str]:
    return json.dumps(definition, indent=2, sort_keys=True, ensure_ascii=False).splitlines() if definition else []


def _report(context: Context, name: str, before: list[str], after: list[str]) -> None:
    for line in difflib.unified_diff(before, after, f"{name} (current)", f"{name} (new)", n=CONTEXT_LINES, lineterm=""):
        context.output.emit(Notice(text=line))
