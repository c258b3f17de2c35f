"""The contexts of `supervise`: one for its passes, and one for each action, which yields the lock of its service."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from conductor.cancellation import Cancellation, SignalCancellation
from conductor.change.context import Context
from conductor.clock import Clock
from conductor.definitions.host import Host
from conductor.definitions.load import Definitions
from conductor.notify.history import NotifyingHistory
from conductor.output.printers import NoOutput, Output
from conductor.plan.notification import Notification
from conductor.runtime.port import Runtime
from conductor.state.history import History, HistoryWriter
from conductor.supervise.cancellation import YieldCancellation
from conductor.supervise.history import COMMAND, QuietHistory
from conductor.supervise.log import SupervisorLog, WarningOutput


class MakeContext(Protocol):
    """The factory of contexts (`commands/context.py`), which commands use too."""

    def __call__(
        self,
        host: Host,
        config: Path,
        command: str,
        output: Output,
        cancellation: Cancellation,
        *,
        clock: Clock | None = None,
        runtime: Runtime | None = None,
        history: HistoryWriter | None = None,
        yields: bool = False,
    ) -> Context:
        """Return a context."""


class Contexts:
    """Makes contexts that share one runtime, which reuses its connections, and one history.

    `passes` is the context of passes and health checks. It is never cancelled. `notify` gets the notifications about changes.
    `history` is not only of this host in a fleet.
    """

    def __init__(
        self,
        make: MakeContext,
        definitions: Definitions,
        clock: Clock,
        log: SupervisorLog,
        ended: threading.Event,
        *,
        notify: Callable[[Notification], None],
        history: HistoryWriter | None = None,
    ) -> None:
        self._make = make
        self._definitions = definitions
        self._log = log
        self._ended = ended
        self.history = QuietHistory(NotifyingHistory(history or History(Path(definitions.host.state_dir)), notify))
        self.passes = make(
            definitions.host, definitions.path, COMMAND, NoOutput(), SignalCancellation(), clock=clock,
            history=self.history, yields=True,
        )  # fmt: skip

    def for_action(self, service: str) -> Context:
        """Return the context of one action on `service`."""

        def must_stop() -> bool:
            return self._ended.is_set() or self.passes.locks.has_waiters(service)

        return self._for(service, YieldCancellation(must_stop, self.passes.clock))

    def for_host(self, subject: str) -> Context:
        """Return a context that is never cancelled, whose warnings belong to `subject`."""
        return self._for(subject, SignalCancellation())

    def _for(self, subject: str, cancellation: Cancellation) -> Context:
        shared = self.passes
        return self._make(
            shared.host, shared.config, COMMAND, WarningOutput(self._log, subject), cancellation, clock=shared.clock,
            runtime=shared.runtime, history=shared.history, yields=True,
        )  # fmt: skip
