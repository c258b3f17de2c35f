"""Running an action from the command line: its context, signals, one stream of events, and an exit code."""

import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from conductor.errors import ConductorError, is_denied

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished
    from conductor.output.printers import Output
    from conductor.plan.notification import Notification

AS_ROOT = "run it as root, for example with sudo"


def run_action(
    config: Path,
    command: str,
    action: "Callable[[Definitions, Context], Finished]",
    *,
    as_json: bool,
    yields: bool = False,
    without_edges: Collection[str] = (),
    nodes_gone: Collection[str] = (),
) -> int:
    """Run `action`, report its result or error as the last event, and return the exit code.

    `command` names the action in locks and history; it never contains a secret. With `yields`, other commands wait for the
    locks of this one instead of failing as busy. `without_edges` are edges of a fleet that carry no traffic,
    `nodes_gone` nodes where nothing runs any more.
    """
    from conductor.cancellation import SignalCancellation
    from conductor.clock import Clock
    from conductor.commands.context import make_context, make_history
    from conductor.definitions.load import load
    from conductor.notify.history import NotifyingHistory
    from conductor.notify.notifier import Notifier
    from conductor.output.events import Failed, Notice
    from conductor.output.printers import make_output

    clock, cancellation = Clock(), SignalCancellation()
    ended: list[Notification] = []
    output = make_output(json=as_json, stdout=sys.stdout, stderr=sys.stderr, now=clock.now)
    cancellation.on_deferred = lambda notice: output.emit(Notice(text=notice))
    try:
        definitions = load(config)
        history = NotifyingHistory(make_history(definitions.host, command, yields=yields), ended.append)
        context = make_context(
            definitions.host, config, command, output, cancellation, clock=clock, history=history, yields=yields,
            without_edges=without_edges, nodes_gone=nodes_gone,
        )  # fmt: skip
        cancellation.listen()
        try:
            finished = _notified(
                lambda: action(definitions, context),
                lambda: Notifier(lambda: definitions, context.store, clock).deliver(ended),
                output,
            )
        finally:
            cancellation.stop_listening()
    except (ConductorError, OSError) as raised:
        error = reported(raised)
        output.emit(Failed(error=error.sentence, details=error.details, hint=error.hint, exit_code=error.code))
        return error.code
    output.emit(finished)
    return finished.exit_code


def _notified(action: "Callable[[], Finished]", deliver: Callable[[], list[str]], output: "Output") -> "Finished":
    """Run the action, then deliver its notifications: the locks are released, and Ctrl-C no longer changes the outcome."""
    import msgspec

    from conductor.output.events import Warned

    try:
        finished = action()
    finally:
        warnings = deliver()
        for warning in warnings:
            output.emit(Warned(text=warning))
    return msgspec.structs.replace(finished, warnings=finished.warnings + len(warnings))


def query_context(config: Path, command: str) -> "tuple[Definitions, Context]":
    """Return the definitions and a context for a query, which prints no events."""
    from conductor.commands.context import make_query_context
    from conductor.definitions.load import load

    definitions = load(config)
    return definitions, make_query_context(definitions.host, config, command)


def reported(raised: ConductorError | OSError) -> ConductorError:
    """Return the error to report: an `OSError` that no adapter translated, such as a full disk or too many open files, as a
    sentence; and the hint to run as root, if that helps and the error has no other."""
    error = raised if isinstance(raised, ConductorError) else _system_error(raised)
    return error.within(hint=AS_ROOT) if os.geteuid() != 0 and is_denied(raised) else error


def _system_error(error: OSError) -> ConductorError:
    path = f": {error.filename}" if error.filename is not None else ""
    return ConductorError(f"cannot continue: {error.strerror or type(error).__name__}{path}")
