"""The steps of a change, decided before anything is done (pure). `--plan` prints the list that is then carried out."""

from collections.abc import Sequence

import msgspec

from conductor.definitions.model import Canary, Definition, Nginx
from conductor.plan import health_rules
from conductor.plan.journal import MAINTENANCE, StepName
from conductor.plan.transition import Transition, stops_later
from conductor.times import duration_text


class Step(msgspec.Struct, frozen=True):
    """One step. `text` describes it for all services that it concerns."""

    name: StepName
    text: str


def steps(transitions: Sequence[Transition]) -> tuple[Step, ...]:
    """Return the steps of several transitions as one change: all new replicas are healthy before any traffic moves."""
    texts: dict[StepName, list[str]] = {
        "generate": [f"generate the crontab for {_to(t)}: {' '.join(t.generate)}" for t in transitions if t.generate],
        "hook": [f"run before_upgrade for {_to(t)}: {' '.join(t.hook.command)}" for t in transitions if t.hook],
        "start": [_start(t) for t in transitions if t.add and not t.stop_first],
        "gate": [f"wait for {t.service}: {_gate(t)}" for t in transitions if t.add and not t.stop_first],
        "replace": [f"{_stop(t)}{_start(t)}, then wait: {_gate(t)}" for t in transitions if t.stop_first],
        "canary": [_canary(t, t.canary) for t in transitions if t.canary],
        "cutover": [_cutover(t) for t in transitions if t.routed],
        "commit": [_commit(t) for t in transitions],
        "drain": [_drain(t) for t in transitions if t.routed and (t.remove or t.action == "maintenance-on")],
        "retire": [_retire(t) for t in transitions if t.remove or (t.new.stopped and t.new.retiring)],
        "crontab": [_crontab(t) for t in transitions if t.installs_crontab],
        "history": ["record the change in the history"],
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
    stop = f"{_before_stop(transition)}stop {transition.service} {_from(transition)}, then "
    return stop if transition.remove else ""


def _start(transition: Transition) -> str:
    return f"start {replicas_text(transition.add)} of {_to(transition)} (live: {_from(transition)})"


def _gate(transition: Transition) -> str:
    health = transition.definition.service.health
    return health_rules.requirement(health) if health else "each replica must start"


def _drain(transition: Transition) -> str:
    limit = duration_text(drain_seconds(transition.definition))
    if transition.action == "maintenance-on":
        return f"wait up to {limit} for requests to {transition.service} to finish"
    return f"drain old replicas of {transition.service} for up to {limit}"


def _canary(transition: Transition, canary: Canary) -> str:
    upstream = transition.definition.upstream
    return (
        f"send {canary.share.text} of the requests for upstream {upstream} to {_to(transition)} for {canary.for_.text}"
    )


def _cutover(transition: Transition) -> str:
    if transition.new.maintenance:
        return f"return 503 for upstream {transition.definition.upstream} (maintenance)"
    if transition.count == 0 or not transition.definition.service.nginx:
        return f"return 503 for upstream {transition.definition.upstream}"
    return f"route requests for upstream {transition.definition.upstream} to {replicas_text(transition.count)} of {_to(transition)}"


def _commit(transition: Transition) -> str:
    if transition.new.stopped and not transition.old.stopped:
        return f"record {transition.service} as stopped"
    if transition.action in MAINTENANCE:
        return f"record that {transition.service} is {'' if transition.new.maintenance else 'no longer '}in maintenance"
    return f"record {_to(transition)} ({replicas_text(transition.count)}) as the live release"


def _retire(transition: Transition) -> str:
    if not transition.remove:
        left = replicas_text(len(transition.new.retiring))
        return f"wait for {left} of {transition.service} from earlier deploys to exit"
    first = "" if transition.stop_first else _before_stop(transition)
    old = f"{replicas_text(len(transition.remove))} of {transition.service}"
    if stops_later(transition.action, transition.old.release) and not transition.stop_first:
        return f"{first}send the stop signal to {old}, which supervise will remove"
    return f"{first}stop and remove {old}"


def _before_stop(transition: Transition) -> str:
    """By the definition of the old replicas."""
    hook = transition.old.release.definition.get("before_stop") if transition.old.release else None
    return f"run before_stop ({' '.join(hook['command'])}), then " if hook else ""


def _crontab(transition: Transition) -> str:
    installed = transition.definition.service.cron and not transition.new.stopped
    return f"{'install' if installed else 'remove'} the crontab for {transition.service}"
