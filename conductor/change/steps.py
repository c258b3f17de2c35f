"""What each step of a change does: one method per step. Its only inputs are the journals and the runtime."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from conductor.change.context import Context
from conductor.change.crontab import generate, wrapped
from conductor.change.gate import Candidate, Gate
from conductor.change.hooks import run_hook
from conductor.change.parallel import CALLS_AT_ONCE, for_each
from conductor.change.service_change import ServiceChange
from conductor.cron.table import parse
from conductor.errors import ConductorError
from conductor.output.events import Progress, Warned
from conductor.plan.history import Outcome
from conductor.plan.journal import StepName
from conductor.plan.replica import Replica
from conductor.plan.route import Cutover
from conductor.plan.steps import drain_seconds, replicas_text
from conductor.plan.transition import KEEPS_CRONTAB, Transition


class ChangeSteps:
    """The steps of one change of one or several services. `transitions` is empty in a recovery, which starts nothing new.

    `left_for_operator` collects the names of containers that an operator has to remove or start by hand.
    """

    def __init__(
        self, context: Context, services: Sequence[ServiceChange], transitions: Sequence[Transition] = ()
    ) -> None:
        self.context = context
        self.services = tuple(services)
        self.warnings = 0
        self.left_for_operator: list[str] = []
        self.hooks_ran: list[str] = []
        self._transitions = dict(zip(self.services, transitions, strict=False))
        self._routed = tuple(one for one in self.services if one.routed)

    def warn(self, text: str) -> None:
        """Report and count a warning."""
        self.warnings += 1
        self.context.output.emit(Warned(text=text))

    def progress(self, step: str) -> Callable[[str], None]:
        """Return a function that reports what the step is waiting for, each text once in a row."""
        last = ""

        def report(text: str) -> None:
            nonlocal last
            if text != last:
                last = text
                self.context.output.emit(Progress(step=step, text=text))

        return report

    def is_committed(self) -> bool:
        """True once the commit has begun. Read from disk, because a failed write may still have replaced the file."""
        return any(self.context.store.wanted(one.service).change == one.journal.change for one in self.services)

    # Before the commit.

    def generate(self) -> None:
        """Generate the crontabs. An invalid one ends the change before anything starts."""
        for service, transition in self._transitions.items():
            if transition.generate:
                release = service.journal.release
                text = generate(self.context, service.definition, release, service.journal.change)
                for note in parse(text).warnings:
                    self.warn(f"crontab of {service.service}, {note}")
                release = msgspec.structs.replace(release, crontab=text)
                service.write_ahead(new=msgspec.structs.replace(service.journal.new, release=release))

    def hook(self) -> None:
        """Run the hooks one after the other."""
        for service, transition in self._transitions.items():
            if transition.hook:
                self.hooks_ran.append(service.service)  # also when it fails: it may have done a part of its work
                run_hook(service, transition.hook)

    def start(self) -> None:
        """Start all new replicas in parallel, except those that must not run beside old ones."""
        self._start([one for one, transition in self._transitions.items() if not transition.stop_first])

    def _start(self, services: Sequence[ServiceChange]) -> None:
        calls = [call for one in services for call in one.prepare_start(self._transitions[one].add)]
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            started = [pool.submit(call) for call in calls]
        for future in started:
            future.result()

    def gate(self) -> None:
        """Wait until every new replica is healthy."""
        self._gate("gate", self.services)

    def _gate(self, step: StepName, services: Sequence[ServiceChange]) -> None:
        Gate(self.context, self._candidates(services)).wait(self.progress(step))

    def _candidates(self, services: Sequence[ServiceChange]) -> list[Candidate]:
        return [
            Candidate(replica=replica, health=one.definition.service.health, redact=one.redact)
            for one in services
            if one.definition.service.health
            for replica in one.new()
        ]

    def replace(self) -> None:
        """`order: stop-first`: stop the old replicas, then start and gate the new ones. The old ones stay until the commit."""
        services = [one for one, transition in self._transitions.items() if transition.stop_first]
        for one in services:
            one.write_ahead(old_stopped=True)
            self.stop([(replica, one.old_grace()) for replica in one.old()])
            refuse_running(one.old(), "new")
        self._start(services)
        self._gate("replace", services)

    def cutover(self) -> None:
        """Switch the traffic. Before anything changes, the journals hold what is needed to undo the switch and to drain.

        New replicas are checked again: one that passed may have failed while the gate waited for others.
        """
        Gate(self.context, self._candidates(self.services)).check_again()
        self.context.traffic.switch([one.route() for one in self._routed], self.record_cutover)

    def record_cutover(self, cutover: Cutover) -> None:
        """Write a cutover into the journals, ahead of the traffic layer."""
        for one in self._routed:
            first = one.journal.cutover is None
            try:
                one.write_ahead(cutover=cutover)
            except ConductorError as error:
                if first:
                    raise
                self.warn(error.sentence)  # a full disk; the cutover in the journal is enough to undo this one as well

    def commit(self) -> None:
        """Write the wanted states. After the first write, the change is always finished and never rolled back."""
        if not self._routed:  # otherwise the cutover has checked them
            Gate(self.context, self._candidates(self.services)).check_again()
        for one in self.services:
            self.context.store.write_wanted(one.journal.new)
        self.context.cancellation.committed()

    # After the commit.

    def resume(self) -> None:
        """Complete an interrupted commit: all wanted states are written, and the traffic layer serves them."""
        for one in self.services:
            if self.context.store.wanted(one.service).change != one.journal.change:
                self.context.store.write_wanted(one.journal.new)
        if routes := [one.route() for one in self._routed]:
            self.context.traffic.switch(routes, self.record_cutover)

    def drain(self) -> None:
        """Wait until no request can reach, or is in, an old replica."""
        self._drain({endpoint for one in self._routed for endpoint in one.journal.old_endpoints})

    def _drain(self, endpoints: set[str]) -> None:
        routed = [one for one in self._routed if one.journal.cutover is not None]
        cutover = routed[0].journal.cutover if routed else None
        if cutover is None or not endpoints:
            return
        seconds = max(drain_seconds(one.definition) for one in routed)
        drained = self.context.traffic.drain(cutover, sorted(endpoints), seconds, self.progress("drain"))
        if drained.cut or drained.silent:
            self.warn(
                f"the drain reached its deadline of {seconds:g}s: {drained.cut} requests cut, "
                f"{drained.silent} silent connections left"
            )

    def retire(self) -> None:
        """Stop and remove the old replicas in parallel."""
        old = [(replica, one.old_grace()) for one in self.services for replica in one.old()]
        self.remove(old, killed=self.stop(old))

    def crontab(self) -> None:
        """Install the crontabs; remove those of services that have none or are stopped."""
        for one in self.services:
            if one.journal.action not in KEEPS_CRONTAB:
                text = None if one.journal.new.stopped else wrapped(self.context, one.journal.release)
                self.context.crontabs.put(one.service, text)

    def end(self, outcome: Outcome) -> None:
        """Release addresses, write the history, remove the journals. No failure here fails the change."""
        for one in self.services:
            try:
                one.end(outcome, self.warnings)
            except ConductorError as error:
                self.warn(f"{error.sentence}; fix this, the next command on {one.service} will finish the change")

    # Stopping and removing, for retire and rollback.

    def stop(self, replicas: Sequence[tuple[Replica, float]]) -> list[tuple[str, float]]:
        """Stop the running replicas, each with its grace in seconds. Return name and grace of those that were killed.

        A replica that cannot be stopped is reported when it is removed. `supervise` yields its lock while they stop; a
        signal does not end the wait.
        """
        graces = {one.id: grace for one, grace in replicas if one.running}
        if graces:
            self.progress("retire")(f"stopping {replicas_text(len(graces))}, grace {max(graces.values()):g}s")
        killed: list[tuple[str, float]] = []

        def stop(replica: Replica) -> None:
            if self.context.runtime.stop(replica.id, graces[replica.id]):
                killed.append((replica.name, graces[replica.id]))

        cancellation = self.context.cancellation
        with cancellation.shielded("stopping replicas; this is not interrupted", yields=True):
            for_each([one for one, _ in replicas if one.running], stop, cancellation.check)
        return sorted(killed)

    def remove(self, replicas: Sequence[tuple[Replica, float]], *, killed: Sequence[tuple[str, float]]) -> None:
        """Remove the replicas and keep their logs. One that cannot be removed is left for an operator."""
        of_service = {one.service: one for one in self.services}
        for name, grace in killed:
            self.warn(f"{name} did not stop within {grace:g}s and was killed")

        def remove(replica: Replica) -> None:
            of_service[replica.service].keep_log(replica)
            self.context.runtime.remove(replica.id)

        for replica, error in for_each([one for one, _ in replicas], remove):
            self.left_for_operator.append(replica.name)
            self.warn(f"{error.sentence}; remove it by hand: docker rm -f {replica.name}")

    # Rolling back.

    def undo_replace(self) -> None:
        """`order: stop-first`: start the old replicas again at their own addresses, once the new ones are gone."""
        for one in self.services:
            if one.journal.old_stopped:
                self.remove_new([(one, one.definition.service.stop.grace)])
                refuse_running(one.new(), "old")
                ran = {replica.id for replica in one.journal.before if replica.running}
                stopped = [replica for replica in one.old() if not replica.running and replica.id in ran]
                for replica, error in for_each(stopped, lambda replica: self.context.runtime.start(replica.id)):
                    self.left_for_operator.append(replica.name)
                    self.warn(f"{error.sentence}; start it by hand: docker start {replica.name}")

    def undo_cutover(self) -> None:
        """Restore what the traffic layer served before, exactly as it was, and drain the new replicas."""
        cutover = next((one.journal.cutover for one in self._routed if one.journal.cutover), None)
        if cutover is None:
            return
        services = [one.service for one in self._routed]
        try:
            self.context.traffic.undo(cutover, services, self.record_cutover)
        except ConductorError as error:
            raise error.within(
                f"undo the cutover of {', '.join(services)}",
                details=("old and new replicas both keep running until the cutover is undone",),
            ) from error
        self._drain({endpoint for one in self._routed for endpoint in one.journal.new_endpoints})

    def remove_new(self, services: Sequence[tuple[ServiceChange, float]]) -> None:
        """Stop and remove the new replicas of services in parallel, each with its grace in seconds."""
        new = [(replica, grace) for one, grace in services for replica in one.new()]
        self.remove(new, killed=self.stop(new))


def refuse_running(replicas: Sequence[Replica], others: str) -> None:
    """Raise when one of these still runs: replicas of a stop-first service never run beside each other."""
    running = [one.name for one in replicas if one.running]
    if running:
        raise ConductorError(
            f"cannot continue: {', '.join(running)} did not stop, and {others} replicas must not run at the same time"
        )
