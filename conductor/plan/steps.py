"""The steps of a change, decided before anything is done (pure): `--plan` prints the very list that is walked."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from conductor.definitions.model import Definition, Nginx
from conductor.plan import health_rules
from conductor.plan.transition import Transition

StepName = Literal[
    "generate", "hook", "start", "gate", "swap", "cutover", "commit", "drain", "retire", "crontab", "record"
]


class Step(msgspec.Struct, frozen=True):
    """One step and why: `text` says both, for all services that it concerns."""

    name: StepName
    text: str


def steps(transitions: Sequence[Transition]) -> tuple[Step, ...]:
    """The steps of several transitions as one change: everything new is healthy before any traffic transitions."""
    texts: dict[StepName, list[str]] = {
        "generate": [f"print the crontab of {_to(m)}: {' '.join(m.generate)}" for m in transitions if m.generate],
        "hook": [f"run {' '.join(m.hook.command)} of {_to(m)}" for m in transitions if m.hook],
        "start": [_start(m) for m in transitions if m.added and not swaps(m)],
        "gate": [f"{m.definition.id}, each: {_gate(m)}" for m in transitions if m.added and not swaps(m)],
        "swap": [
            f"stop {m.definition.id} {_from(m)}, then {_start(m)}, each: {_gate(m)}" for m in transitions if swaps(m)
        ],
        "cutover": [_cutover(m) for m in transitions if m.through_nginx],
        "commit": [_commit(m) for m in transitions],
        "drain": [
            f"let old containers of {m.definition.id} finish, at most {drain_seconds(m.definition):g}s"
            for m in transitions
            if m.gone and m.through_nginx
        ],
        "retire": [
            f"stop and remove {_number(len(m.gone), 'old container')} of {m.definition.id}"
            for m in transitions
            if m.gone
        ],
        "crontab": [_crontab(m) for m in transitions if m.installs_crontab],
        "record": ["write the history"],
    }
    return tuple(Step(name, "; ".join(said)) for name, said in texts.items() if said)


def drain_seconds(definition: Definition) -> float:
    """How long old containers may finish; a service that has left nginx has the built-in time."""
    return (definition.service.nginx or Nginx()).drain


def swaps(transition: Transition) -> bool:
    """Whether old containers must be gone before new ones start: when either of the two releases says so."""
    before = transition.old.release.definition.get("order") if transition.old.release else None
    return "stop-first" in {before, transition.definition.service.order} and transition.added > 0


def _to(transition: Transition) -> str:
    revision = transition.new.release.revision if transition.new.release else "nothing"
    return f"{transition.definition.id} {revision}"


def _from(transition: Transition) -> str:
    return transition.old.release.revision if transition.old.release else "nothing"


def _start(transition: Transition) -> str:
    return f"start {transition.added} × {_to(transition)} (live: {_from(transition)})"


def _gate(transition: Transition) -> str:
    return (
        health_rules.wording(transition.definition.service.health)
        if transition.definition.service.health
        else "started"
    )


def _cutover(transition: Transition) -> str:
    if transition.count == 0 or not transition.definition.service.nginx:
        return f"answer 503 for {transition.definition.upstream}"
    return f"send requests for {transition.definition.upstream} to {transition.count} × {_to(transition)}"


def _commit(transition: Transition) -> str:
    if transition.new.stopped and not transition.old.stopped:
        return f"{transition.definition.id} is stopped from here on"
    return f"{_to(transition)}, count {transition.count}, from here on"


def _crontab(transition: Transition) -> str:
    stays = transition.definition.service.cron and not transition.new.stopped
    return f"{'install' if stays else 'remove'} the crontab of {transition.definition.id}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
