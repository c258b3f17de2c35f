"""Running an action from the command line: its context, signals, one stream of events, and an exit code."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from conductor.errors import ConductorError

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


def run_action(
    config: Path, command: str, action: "Callable[[Definitions, Context], Finished]", *, as_json: bool
) -> int:
    """Run `action`, report its result or error as the last event, and return the exit code.

    `command` names the action in locks and history; it never contains a secret.
    """
    from conductor.cancellation import SignalCancellation
    from conductor.clock import Clock
    from conductor.commands.context import make_context
    from conductor.definitions.load import load
    from conductor.output.events import Failed, Notice
    from conductor.output.printers import make_output

    clock, cancellation = Clock(), SignalCancellation()
    output = make_output(json=as_json, stdout=sys.stdout, stderr=sys.stderr, now=clock.now)
    cancellation.on_deferred = lambda notice: output.emit(Notice(text=notice))
    try:
        definitions = load(config)
        context = make_context(definitions.host, config, command, output, cancellation, clock=clock)
        cancellation.listen()
        try:
            finished = action(definitions, context)
        finally:
            cancellation.stop_listening()
    except (ConductorError, OSError) as raised:
        error = system_error(raised) if isinstance(raised, OSError) else raised
        output.emit(Failed(error=error.sentence, details=error.details, hint=error.hint, exit_code=error.code))
        return error.code
    output.emit(finished)
    return finished.exit_code


def query_context(config: Path, command: str) -> "tuple[Definitions, Context]":
    """Return the definitions and a context for a query, which prints no events."""
    from conductor.cancellation import SignalCancellation
    from conductor.commands.context import make_context
    from conductor.definitions.load import load
    from conductor.output.printers import NoOutput

    definitions = load(config)
    return definitions, make_context(definitions.host, config, command, NoOutput(), SignalCancellation())


def system_error(error: OSError) -> ConductorError:
    """Return the error for an `OSError` that no adapter translated, such as a full disk or too many open files."""
    path = f": {error.filename}" if error.filename is not None else ""
    return ConductorError(f"cannot continue: {error.strerror or type(error).__name__}{path}")
