"""The `before_upgrade` hook: a command, such as a migration, that runs in the new revision before any replica starts."""

import contextlib
from math import ceil

from conductor.change.parallel import for_each
from conductor.change.prerequisites import ensure_network
from conductor.change.progress import text_reporter
from conductor.change.service_change import ServiceChange
from conductor.definitions.model import Hook
from conductor.errors import ConductorError, Interrupted
from conductor.output.events import Notice
from conductor.plan.container_spec import container_spec
from conductor.plan.replica import ContainerState, TaskContainer
from conductor.times import duration_text

POLL_SECONDS = 0.1
LAST_LINES = 20


def run_hook(change: ServiceChange, hook: Hook) -> None:
    """Run the hook and report its output line by line. Raise if it fails or takes longer than its timeout."""
    context, runtime = change.context, change.context.runtime
    ensure_network(context)
    spec = container_spec(
        change.definition, change.journal.release, change.read_environment(), instance=context.host.instance,
        network=context.host.network.name, kind="hook", change=change.journal.change, name="hook",
        command=hook.command,
    )  # fmt: skip
    made = runtime.create(spec)
    try:
        try:
            runtime.start(made)
        except ConductorError:
            if any(one.running for one in hooks(change)):  # only the answer was lost
                await_hooks(change)
            raise
        state = _follow(change, hook)
    except Interrupted:
        _stop(change)
        raise
    if state is None:
        _stop(change)
        raise ConductorError(
            f"before_upgrade for {change.service} did not finish within {duration_text(hook.timeout)} and was stopped"
        )
    output: tuple[str, ...] = ()
    with contextlib.suppress(ConductorError):
        for container in hooks(change):
            state = runtime.inspect_exit(container.id, wait=True) or state
        output = tuple(f"  {change.redact(line)}" for c in hooks(change) for line in runtime.logs(c.id, LAST_LINES))
    remove_hooks(change)
    if state.exit_code != 0:
        raise ConductorError(f"before_upgrade for {change.service} {state}", "", (" ".join(hook.command), *output))


def _follow(change: ServiceChange, hook: Hook) -> ContainerState | None:
    """Return the state of the hook when it has exited, or None if it exceeds its timeout."""
    clock = change.context.clock
    until, last = clock.monotonic() + hook.timeout, ""
    report = text_reporter(change.context.output, clock, "hook")
    while True:
        with contextlib.suppress(ConductorError):  # an unknown state is not an exit
            state, last = _inspect(change, last)
            if not state.running:
                return state
        if clock.monotonic() >= until:
            return None
        report(
            f"before_upgrade for {change.service} is running, at most {duration_text(ceil(until - clock.monotonic()))} left"
        )
        change.context.cancellation.wait(POLL_SECONDS)


def _inspect(change: ServiceChange, last: str) -> tuple[ContainerState, str]:
    """Report the output after the time stamp `last`; return the state now and the new last time stamp."""
    state, runtime = None, change.context.runtime
    for container in hooks(change):
        state = runtime.inspect(container.id)
        with contextlib.suppress(ConductorError):  # with the logging driver `none` there is no log
            for stamp, text in runtime.logs_since(container.id, last):
                last = stamp
                change.context.output.emit(Notice(text=f"{change.service} hook: {change.redact(text)}"))
    gone = ContainerState(
        running=False, exit_code=None, out_of_memory=False, address="", error="was removed while running"
    )
    return state or gone, last


def await_hooks(change: ServiceChange) -> None:
    """Wait, in a recovery, for a hook that is still running. It is not killed, and never runs twice at the same time."""
    hook = change.definition.service.before_upgrade
    if hook is not None and hooks(change):
        change.context.output.emit(
            Notice(text=f"before_upgrade for {change.service} is still running; waiting for it to finish")
        )
        if _follow(change, hook) is None:
            _stop(change)
    remove_hooks(change)


def hooks(change: ServiceChange) -> tuple[TaskContainer, ...]:
    """Return the hook containers of this change."""
    found = change.context.runtime.containers(change.service).tasks
    return tuple(one for one in found if one.kind == "hook" and one.change == change.journal.change)


def _stop(change: ServiceChange) -> None:
    grace = change.definition.service.stop.grace
    report = text_reporter(change.context.output, change.context.clock, "hook")

    def stop(container: TaskContainer) -> None:
        change.context.runtime.stop(container.id, grace)

    text = f"stopping before_upgrade for {change.service}, grace period {duration_text(grace)}"
    for _, error in for_each(hooks(change), stop, lambda: report(text)):
        raise error
    remove_hooks(change)


def remove_hooks(change: ServiceChange) -> None:
    """Remove the containers of hooks and of the crontab's generator. Keep their logs."""
    for container in change.context.runtime.containers(change.service).tasks:
        if container.kind in {"hook", "task"} and container.change == change.journal.change:
            change.keep_log(container)
            change.context.runtime.remove(container.id)
