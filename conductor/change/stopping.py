"""Stops and removes the replicas of a change, and starts replicas again that it stopped, all in parallel."""

import threading
from collections.abc import Callable, Sequence
from functools import partial

from conductor.change.context import Context
from conductor.change.parallel import for_each
from conductor.change.progress import text_reporter
from conductor.change.retiring import killed_text, record_retiring
from conductor.change.service_change import ServiceChange
from conductor.errors import ConductorError
from conductor.output.events import Notice
from conductor.plan.replica import Replica
from conductor.plan.steps import replicas_text
from conductor.times import duration_text

NOT_INTERRUPTED = "stopping replicas; this cannot be interrupted"


class Stopping:
    """The replicas of one change of one or several services. A failure is a warning, and the other replicas go on.

    `left_for_operator` collects the names of containers that an operator has to remove or start by hand.
    """

    def __init__(self, context: Context, services: Sequence[ServiceChange], warn: Callable[[str], None]) -> None:
        self.left_for_operator: list[str] = []
        self._context = context
        self._of_service = {one.service: one for one in services}
        self._warn = warn

    def stop(self, step: str, replicas: Sequence[tuple[Replica, float]]) -> list[str]:
        """Stop the running replicas, each with its grace in seconds. Return a warning for each one that was killed.

        First `before_stop` runs in each of them, once; its failure is a warning. A failed stop is retried once, because the
        removal that follows has no grace period. `supervise` yields its lock while they stop; a signal does not end the wait.
        The next holder of the lock may start these replicas again, so no stop begins after that.
        """
        graces = {one.id: grace for one, grace in replicas if one.may_run}
        killed: list[str] = []
        failures: dict[str, str] = {}  # of `before_stop`, by replica; empty when it succeeded
        stopped: list[str] = []
        yielded = threading.Event()
        report = text_reporter(self._context.output, self._context.clock, step)
        cancellation = self._context.cancellation

        def progress() -> None:
            if running := len(graces) - len(stopped):
                report(
                    f"waiting for {replicas_text(running)} to stop, grace period {duration_text(max(graces.values()))}"
                )

        def meanwhile() -> None:
            progress()
            self._check(yielded)

        def stop(replica: Replica) -> None:
            change = self._of_service[replica.service]
            if replica.id not in failures:
                failures[replica.id] = change.run_before_stop(replica)
            if yielded.is_set():
                return
            grace = graces[replica.id]
            if self._context.runtime.stop(replica.id, grace):
                service = change.definition_of(replica).service
                if service.stop.signal != "SIGKILL":  # which ends every container as a kill does
                    killed.append(killed_text(replica.name, grace, service))
            stopped.append(replica.id)

        progress()
        with cancellation.shielded(NOT_INTERRUPTED, yields=True):
            failed = for_each([one for one, _ in replicas if one.may_run], stop, meanwhile)
            for _, error in for_each([one for one, _ in failed], stop, meanwhile):
                self._warn(f"{error.sentence}; it will be removed without a grace period")
        for text in filter(None, failures.values()):
            self._warn(text)
        return sorted(killed)

    def remove(self, replicas: Sequence[tuple[Replica, float]], *, killed: Sequence[str]) -> None:
        """Remove the replicas and keep their logs. One that cannot be removed is left for an operator."""
        for text in killed:
            self._warn(text)

        def remove(replica: Replica) -> None:
            self._of_service[replica.service].keep_log(replica)
            self._context.runtime.remove(replica.id)

        for replica, error in for_each([one for one, _ in replicas], remove):
            self.left_for_operator.append(replica.name)
            remove_by_hand = "docker service rm" if self._context.host.fleet else "docker rm -f"
            self._warn(f"{error.sentence}; remove it by hand: {remove_by_hand} {replica.name}")

    def signal(self, one: ServiceChange) -> None:
        """Send the stop signal to old replicas of a service. One that cannot get it is stopped and waited for later.

        They are recorded after the signal: after a crash in between, they get the signal again.
        """
        stop = one.old_definition().service.stop
        running = [replica for replica in one.old() if replica.running]
        texts: list[str] = []
        yielded = threading.Event()

        def signal(replica: Replica) -> None:
            texts.append(one.run_before_stop(replica))
            # Otherwise the next holder of the lock sends it, and some apps exit at once on a second signal.
            if not yielded.is_set():
                self._context.runtime.signal(replica.id, stop.signal)

        with self._context.cancellation.shielded(NOT_INTERRUPTED, yields=True):
            failed = {replica.id for replica, _ in for_each(running, signal, partial(self._check, yielded))}
        for text in filter(None, texts):
            self._warn(text)
        signalled = [replica for replica in running if replica.id not in failed]
        if signalled:
            record_retiring(self._context, signalled, one.journal.old.live, stop.grace)
            text = f"{replicas_text(len(signalled))} of {one.service} may keep running for another {duration_text(stop.grace)}"
            them = "it" if len(signalled) == 1 else "them"
            self._context.output.emit(Notice(text=f"{text}; supervise or the next change will remove {them}"))

    def _check(self, yielded: threading.Event) -> None:
        """Raise when the lock must be yielded, and set `yielded` before."""
        try:
            self._context.cancellation.check()
        except BaseException:
            yielded.set()
            raise

    def start_again(self, replicas: Sequence[Replica], grace: float) -> None:
        """Start old replicas at their own addresses. One that still runs is stopped first, with its grace in seconds."""

        def start(replica: Replica) -> None:
            if replica.running:
                self._context.runtime.stop(replica.id, grace)
            self._context.runtime.start(replica.id)

        report = text_reporter(self._context.output, self._context.clock, "rollback")
        waiting = partial(report, f"starting {replicas_text(len(replicas))} again")
        for replica, error in for_each(replicas, start, waiting):
            self.left_for_operator.append(replica.name)
            verb = "restart" if replica.running else "start"
            by_hand = f"docker {verb} {replica.name}"
            if self._context.host.fleet:
                by_hand = f"docker service scale {replica.name}=1"
            self._warn(f"{error.sentence}; {verb} it by hand: {by_hand}")


def refuse_running(replicas: Sequence[Replica], others: str) -> None:
    """Raise when one of these still runs: replicas of a stop-first service never run beside each other."""
    running = [one.name for one in replicas if one.may_run]
    if running:
        raise ConductorError(
            f"cannot continue: {', '.join(running)} did not stop, and {others} replicas must not run at the same time"
        )
