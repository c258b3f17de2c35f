"""The steps of a change, decided before anything is done (pure). `--plan` prints the list that is then carried out."""

from collections.abc import Sequence

import msgspec

from conductor.definitions.model import Definition, Nginx
from conductor.plan import health_rules
from conductor.plan.journal import StepName
from conductor.plan.transition import Transition


class Step(msgspec.Struct, frozen=True):
    """One step. `text` describes it for all services that it concerns."""

    name: StepName
    text: str


def steps(transitions: Sequence[Transition]) -> tuple[Step, ...]:
    """Return the steps of several transitions as one change: all new replicas are healthy before any traffic moves."""
    texts: dict[StepName, list[str]] = {
        "generate": [f"generate the crontab of {_to(t)}: {' '.join(t.generate)}" for t in transitions if t.generate],
        "hook": [f"run before_upgrade of {_to(t)}: {' '.join(t.hook.command)}" for t in transitions if t.hook],
        "start": [_start(t) for t in transitions if t.add and not t.stop_first],
        "gate": [f"wait for {t.service}: {_gate(t)}" for t in transitions if t.add and not t.stop_first],
        "replace": [f"{_stop(t)}{_start(t)}, then wait: {_gate(t)}" for t in transitions if t.stop_first],
        "cutover": [_cutover(t) for t in transitions if t.routed],
        "commit": [_commit(t) for t in transitions],
        "drain": [
            f"drain old replicas of {t.service}, at most {drain_seconds(t.definition):g}s"
            for t in transitions
            if t.remove and t.routed
        ],
        "retire": [f"stop and remove {replicas_text(len(t.remove))} of {t.service}" for t in transitions if t.remove],
        "crontab": [_crontab(t) for t in transitions if t.installs_crontab],
        "history": ["write the history"],
    }
    return tuple(Step(name, "; ".join(parts)) for name, parts in texts.items() if parts)


def drain_seconds(definition: Definition) -> float:
    """Return how long old replicas may finish. A service that no longer has nginx uses the default."""
    return (definition.service.nginx or Nginx()).drain


def replicas_text(count: int) -> str:
    """Return "1 replica", "2 replicas"."""
    return f"{count} replica{'s' * (count != 1)}"


def _to(transition: Transition) -> str:
    return f"{transition.service} {transition.new.live.revision}"


def _from(transition: Transition) -> str:
    return transition.old.release.revision if transition.old.release else "none"


def _stop(transition: Transition) -> str:
    return f"stop {transition.service} {_from(transition)}, then " if transition.remove else ""


def _start(transition: Transition) -> str:
    return f"start {replicas_text(transition.add)} of {_to(transition)} (live: {_from(transition)})"


def _gate(transition: Transition) -> str:
    health = transition.definition.service.health
    return health_rules.requirement(health) if health else "started"


def _cutover(transition: Transition) -> str:
    if transition.count == 0 or not transition.definition.service.nginx:
        return f"answer 503 for upstream {transition.definition.upstream}"
    return f"route upstream {transition.definition.upstream} to {replicas_text(transition.count)} of {_to(transition)}"


def _commit(transition: Transition) -> str:
    if transition.new.stopped and not transition.old.stopped:
        return f"record {transition.service} as stopped"
    return f"record {_to(transition)} with {replicas_text(transition.count)}"


def _crontab(transition: Transition) -> str:
    installed = transition.definition.service.cron and not transition.new.stopped
    return f"{'install' if installed else 'remove'} the crontab of {transition.service}"
