"""Step 3: a command run in the new revision before anything is started, a migration for example. It is never undone."""

import contextlib

from conductor.change.network import ensure_network
from conductor.change.service_change import Member
from conductor.definitions.model import Hook
from conductor.errors import ConductorError, Interrupted
from conductor.output.events import Told
from conductor.plan.container_spec import container_spec
from conductor.plan.values import Container, ContainerState

LOOK_SECONDS = 0.1
LAST_LINES = 20
NOT_UNDONE = "has run, and what it did is not undone"


def run_hook(member: Member, hook: Hook) -> None:
    """Run it to its end with its output told line by line; a failure or a timeout is an error that says so."""
    context, runtime = member.context, member.context.runtime
    ensure_network(context)
    spec = container_spec(
        member.definition, member.journal.release, member.read_secrets(), instance=context.host.instance,
        network=context.host.network.name, kind="hook", name="hook", command=hook.command,
    )  # fmt: skip
    runtime.start(runtime.create(spec))
    try:
        state = _follow(member, hook)
    except Interrupted as error:
        _stop(member)
        error.details = (*error.details, f"before_upgrade of {member.id} {NOT_UNDONE}")
        raise
    if state is None:
        _stop(member)
        raise ConductorError(
            f"before_upgrade of {member.id} did not end within {hook.timeout:g}s and was stopped", f"it {NOT_UNDONE}"
        )
    said: tuple[str, ...] = ()
    with contextlib.suppress(ConductorError):
        said = tuple(f"  {member.redact(line)}" for c in hooks(member) for line in runtime.logs(c.id, LAST_LINES))
    remove_hooks(member)
    if state.exit_code != 0:
        raise ConductorError(
            f"before_upgrade of {member.id} {state}", f"it {NOT_UNDONE}", (" ".join(hook.command), *said)
        )


def _follow(member: Member, hook: Hook) -> ContainerState | None:
    """How it ended; None when it had not by its timeout."""
    clock = member.context.clock
    until, last = clock.monotonic() + hook.timeout, ""
    while True:
        with contextlib.suppress(ConductorError):  # unknown is not dead: another look decides
            state, last = _look(member, last)
            if not state.running:
                return state
        if clock.monotonic() >= until:
            return None
        clock.wait(LOOK_SECONDS)


def _look(member: Member, last: str) -> tuple[ContainerState, str]:
    """How it is, with what it has said after the time stamp `last` told; and the last stamp now."""
    state, runtime = None, member.context.runtime
    for container in hooks(member):
        state = runtime.inspect(container.id)
        with contextlib.suppress(ConductorError):  # a log that cannot be read (driver: none) says nothing of the hook
            for stamp, text in runtime.output(container.id, last):
                last = stamp
                member.context.report.emit(Told(f"{member.id} hook: {member.redact(text)}"))
    gone = ContainerState(
        running=False, exit_code=None, out_of_memory=False, address="", error="was removed while it ran"
    )
    return state or gone, last


def await_hooks(member: Member) -> None:
    """After a crash: a hook that still runs is waited for, not killed, and never run beside another."""
    hook = member.definition.service.before_upgrade
    if hook is not None and hooks(member):
        member.context.report.emit(Told(f"waiting for before_upgrade of {member.id}, which still runs"))
        if _follow(member, hook) is None:
            _stop(member)
    remove_hooks(member)


def hooks(member: Member) -> tuple[Container, ...]:
    """The hook containers of this change."""
    found = member.context.runtime.containers(member.id)
    return tuple(c for c in found if c.kind == "hook" and c.change == member.journal.change)


def _stop(member: Member) -> None:
    for container in hooks(member):
        member.context.runtime.stop(container.id, member.definition.service.stop.grace)
    remove_hooks(member)


def remove_hooks(member: Member) -> None:
    """And what else ran in the new revision before it was started; their output is kept with the logs."""
    for container in member.context.runtime.containers(member.id):
        if container.kind in {"hook", "task"} and container.change == member.journal.change:
            member.keep_log(container)
            member.context.runtime.remove(container.id)
