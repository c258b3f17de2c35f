"""Carries out a change: preflight, journals, the steps in order, and a rollback when one fails."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from conductor.caller import current_user
from conductor.change.cleanup import clean_up_jobs, clean_up_tasks
from conductor.change.context import Context
from conductor.change.crontab import wrapped
from conductor.change.outcome import outcome, report_none_running, result
from conductor.change.prerequisites import pull_for, require_image
from conductor.change.rollback import roll_back
from conductor.change.service_change import ServiceChange
from conductor.change.steps import ChangeSteps
from conductor.definitions.model import network_name
from conductor.errors import ConductorError, Interrupted, LockYielded, OperatorError
from conductor.output.events import Finished, StepFinished, StepStarted
from conductor.output.printers import ChangeOutput
from conductor.plan.container_spec import unmounted
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.journal import ChangeAction, Journal, StepName, noun
from conductor.plan.release import Image, Release, Wanted
from conductor.plan.steps import Step, replicas_text, steps
from conductor.plan.transition import Transition

FINISH_HINT = "fix this; the next command on this service will finish the change"
ROLLBACK_HINT = "fix this; the next command on this service will finish the rollback"

# Where the verb is not the action's id.
VERBS: Mapping[ChangeAction, str] = {
    "rollback": "roll back",
    "maintenance-on": "start maintenance for",
    "maintenance-off": "end maintenance for",
}


def carry_out(
    context: Context,
    transitions: Sequence[Transition],
    change: str,
    began: float,
    *,
    recorded: Callable[[], None] = lambda: None,
) -> Finished:
    """Make `transitions` one change, under the locks of their services. On an error the previous releases keep serving.

    `began` is the monotonic time at which the action began. `recorded` is called once the journals hold the change.
    """
    ids = tuple(transition.service for transition in transitions)
    context = msgspec.structs.replace(context, output=ChangeOutput(context.output, change, ids))
    try:
        change_steps = _begin(context, transitions, change)
    except ConductorError as error:
        raise refused(
            context, transitions[0].action, [(t.service, t.old, t.new.release) for t in transitions], error
        ) from error
    recorded()
    _run_steps(change_steps, steps(transitions), transitions)
    report_none_running(context, transitions)
    text = "; ".join(outcome(transition) for transition in transitions)
    if change_steps.stopping.left_for_operator:
        text += f"; containers to remove by hand: {', '.join(change_steps.stopping.left_for_operator)}"
    return Finished(
        change=change,
        text=text,
        seconds=context.clock.monotonic() - began,
        warnings=change_steps.warnings,
        exit_code=OperatorError.exit_code if change_steps.stopping.left_for_operator else 0,
        services=tuple(result(transition, changed=True) for transition in transitions),
    )


def _begin(context: Context, transitions: Sequence[Transition], change: str) -> ChangeSteps:
    """Preflight, then write the intent of all services into their journals."""
    plan = tuple(step.name for step in steps(transitions))
    services = [ServiceChange(context, _journal(context, t, change, transitions, plan)) for t in transitions]
    warnings: list[str] = []
    for one, transition in zip(services, transitions, strict=True):
        if transition.add or transition.generate:
            release = transition.new.live
            image = require_image(context.runtime, release, partial(pull_for, context, one.service))
            warnings += _volume_warnings(transition, image)
        if transition.add or transition.generate or transition.hook:
            names = {network_name(network) for network in transition.definition.service.networks}
            context.runtime.check_networks(names - {context.host.network.name})  # which is created when it is missing
        if transition.add:
            one.read_environment()
            context.runtime.check_volumes(transition.definition.service.volumes)
            if ports := context.host.fleet.ports if context.host.fleet else transition.definition.service.publish:
                context.runtime.check_ports(*ports)
    routes = [one.route() for one in services if one.routed]
    if routes:
        warnings += context.traffic.check(routes)
    for one, transition in zip(services, transitions, strict=True):
        if transition.installs_crontab and (
            not transition.new.stopped or context.crontabs.read(one.service) is not None
        ):
            context.crontabs.check(one.service)
        wrapped(context, one.journal.release)  # the crontab of a rollback was generated when its release was live
    for one in services:
        one.write_ahead()
    change_steps = ChangeSteps(context, services, transitions)
    for warning in warnings:
        change_steps.warn(warning)
    return change_steps


def _volume_warnings(transition: Transition, image: Image) -> list[str]:
    """Return a warning for each volume of the image at which the definition mounts nothing."""
    service = transition.definition.service
    if transition.action != "upgrade" or not transition.add:
        return []
    return [
        f"{transition.service}: the image declares a VOLUME at {path}, but the definition mounts nothing there: "
        "each replica gets its own volume, and each new container starts with an empty one"
        for path in unmounted(image.volumes, service.volumes, service.tmpfs)
    ]


def _journal(
    context: Context,
    transition: Transition,
    change: str,
    transitions: Sequence[Transition],
    plan: tuple[StepName, ...],
) -> Journal:
    return Journal(
        change=change,
        service=transition.service,
        action=transition.action,
        command=context.command,
        who=current_user(),
        began=context.clock.now(),
        old=transition.old,
        new=transition.new,
        services=tuple(one.service for one in transitions),
        plan=plan,
        reason=transition.reason,
        before=transition.keep + transition.remove,
        keep=tuple(one.id for one in transition.keep),
        unfit=transition.unfit,
    )


def _run_steps(change_steps: ChangeSteps, plan: Sequence[Step], transitions: Sequence[Transition]) -> None:
    calls: dict[StepName, Callable[[], None]] = {
        "generate": change_steps.generate,
        "hook": change_steps.hook,
        "start": change_steps.start,
        "gate": change_steps.gate,
        "replace": change_steps.replace,
        "canary": change_steps.canary,
        "cutover": change_steps.cutover,
        "commit": change_steps.commit,
        "drain": change_steps.drain,
        "retire": change_steps.retire,
        "crontab": change_steps.crontab,
        "history": lambda: _end(change_steps),
    }
    committing = False
    try:
        for step in plan:
            if not committing:
                change_steps.context.cancellation.check()
            committing = committing or step.name == "commit"
            _run_step(change_steps, step, calls[step.name])
    except LockYielded:
        raise
    except BaseException as error:
        if committing and change_steps.is_committed():
            reported = _unfinished(transitions, error)
        else:
            reported = _rolled_back(change_steps, transitions, error)
        if reported is error:  # a bug, which is reported with its traceback
            raise
        raise reported from error


def _run_step(change_steps: ChangeSteps, step: Step, call: Callable[[], None]) -> None:
    """Report a step and record its duration in the journals."""
    context = change_steps.context
    context.output.emit(StepStarted(step=step.name, text=step.text))
    began = context.clock.monotonic()
    call()
    seconds = round(context.clock.monotonic() - began, 3)
    if step.name != "history":  # the history step removes the journals
        for one in change_steps.services:
            with contextlib.suppress(ConductorError):  # a full disk; no other step needs the durations
                one.write_ahead(steps={**one.journal.steps, step.name: seconds})
    context.output.emit(StepFinished(step=step.name, seconds=seconds))


def _end(change_steps: ChangeSteps) -> None:
    change_steps.end(Outcome.DONE)
    for one in change_steps.services:
        clean_up_tasks(change_steps.context, one.service)
        clean_up_jobs(change_steps.context, one.service)
        new = one.journal.new
        with contextlib.suppress(ConductorError):  # the next change tries again
            revisions = {release.revision for release in (new.release, *new.kept) if release}
            change_steps.context.runtime.remove_volumes(one.service, revisions)


def _unfinished(transitions: Sequence[Transition], error: BaseException) -> BaseException:
    """Return the error of a step after the commit: the new release is live, and the rest is left to the next command."""
    if not isinstance(error, ConductorError):
        return error
    text = "; ".join(outcome(transition) for transition in transitions)
    return OperatorError(
        f"{text}, but the {noun(transitions[0].action)} is not finished: {error.sentence}",
        FINISH_HINT,
        tuple(filter(None, (*error.details, error.hint))),
    )


def _rolled_back(change_steps: ChangeSteps, transitions: Sequence[Transition], error: BaseException) -> BaseException:
    """Roll back, and return the error with what runs now. The details of the first error come first."""
    context = change_steps.context
    failure: ConductorError | None = None
    try:
        ended = Outcome.INTERRUPTED if isinstance(error, Interrupted) else Outcome.ROLLED_BACK
        roll_back(change_steps, ended, error.summary if isinstance(error, ConductorError) else "")
    except ConductorError as second:
        failure = second
    hooks = tuple(
        f"before_upgrade for {one} has run, and its effects were not undone" for one in change_steps.hooks_ran
    )
    left = (
        (f"containers to remove or start by hand: {', '.join(change_steps.stopping.left_for_operator)}",)
        if change_steps.stopping.left_for_operator
        else ()
    )
    if failure is not None:
        first, details = str(error), tuple(filter(None, (*failure.details, failure.hint)))
        if isinstance(error, ConductorError):
            first, details = error.sentence, (*error.details, *details)
        error = ConductorError(f"{first}; then the rollback failed: {failure.sentence}", ROLLBACK_HINT, details)
    if not isinstance(error, ConductorError):
        return error
    return _explained(context, transitions[0].action, [(t.service, t.old) for t in transitions], error, hooks + left)


def refused(
    context: Context,
    action: ChangeAction,
    services: Sequence[tuple[str, Wanted, Release | None]],
    error: ConductorError,
    *,
    recorded: bool = True,
) -> ConductorError:
    """Record a refusal in the history; return the error with what runs. `services` are (id, wanted state, new release).

    That of a plan is not `recorded`: nothing was going to change.
    """
    for service, wanted, release in services if recorded else ():
        live = wanted.release
        entry = HistoryEntry(
            at=context.clock.now(), service=service, action=action, outcome=Outcome.REFUSED, who=current_user(),
            command=context.command, from_=live.revision if live else None, to=release.revision if release else None,
            reason=error.summary,
        )  # fmt: skip
        with contextlib.suppress(ConductorError):  # the refusal itself is what the user must read
            context.history.append(entry)
    return _explained(context, action, [(service, wanted) for service, wanted, _ in services], error)


def _explained(
    context: Context,
    action: ChangeAction,
    services: Sequence[tuple[str, Wanted]],
    error: ConductorError,
    details: tuple[str, ...] = (),
) -> ConductorError:
    ids = [service for service, _ in services]
    what = "" if isinstance(error, Interrupted) else f"{VERBS.get(action, action)} {', '.join(ids)}"
    if isinstance(error, Interrupted):
        details = (f"the {noun(action, ids)} was rolled back", *details)
    serving = tuple(_serving(context, service, wanted) for service, wanted in services)
    return error.within(what, details=details + serving)


def _serving(context: Context, service: str, wanted: Wanted) -> str:
    """Return a sentence about the live release of a service and its running replicas."""
    live = wanted.release
    if live is None:
        return f"{service} has never been deployed on this host and is not running"
    try:
        running = sum(one.running and one.release == live.id for one in context.runtime.containers(service).replicas)
    except ConductorError:
        return f"{service} is at revision {live.revision}; its replicas cannot be listed now"
    if wanted.stopped is not None:
        return f"{service} is stopped, at revision {live.revision}"
    return f"{service} is still running {live.revision} with {replicas_text(running)}"
