"""What all actions have in common at the command line: context, signals, one stream of events, an exit code."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from conductor.errors import ConductorError

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


def act(config: Path, words: str, action: "Callable[[Definitions, Context], Finished]", *, as_json: bool) -> int:
    """Run `action`; what it raises is told as its last event, and its exit code returned.

    `words` are what locks and history show of the call; they never hold a secret.
    """
    from conductor.commands.context import open_context
    from conductor.output.events import Failed, Told
    from conductor.output.printers import make_printer

    report = make_printer(json=as_json, stdout=sys.stdout, stderr=sys.stderr)
    try:
        definitions, context = open_context(config, words, report)
        context.clock.listen()
        context.clock.on_late_signal = lambda words: report.emit(Told(words))
        try:
            finished = action(definitions, context)
        finally:
            context.clock.stop_listening()
    except (ConductorError, OSError) as raised:
        error = cannot_go_on(raised) if isinstance(raised, OSError) else raised
        report.emit(Failed(error.sentence, error.details, error.hint, error.code))
        return error.code
    report.emit(finished)
    return finished.exit_code


def cannot_go_on(error: OSError) -> ConductorError:
    """What no door has translated: a full disk, one that cannot be written, no more files. It is no bug."""
    place = f": {error.filename}" if error.filename is not None else ""
    return ConductorError(f"cannot go on: {error.strerror or type(error).__name__}{place}")
