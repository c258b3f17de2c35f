"""What each step of a change does: one method per step. Its only inputs are the journals and the runtime."""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec

from conductor.change.canary import watch
from conductor.change.context import Context
from conductor.change.crontab import generate, wrapped
from conductor.change.gate import Candidate, Gate, GateFailed
from conductor.change.hooks import run_hook
from conductor.change.parallel import CALLS_AT_ONCE
from conductor.change.progress import drain_reporter, text_reporter
from conductor.change.retiring import clean_up_retiring
from conductor.change.service_change import ServiceChange
from conductor.change.stopping import Stopping, refuse_running
from conductor.cron.table import parse
from conductor.definitions.checks import cron_command_warning
from conductor.errors import ConductorError
from conductor.output.events import Warned
from conductor.plan.history import Outcome
from conductor.plan.journal import StepName
from conductor.plan.route import Cutover
from conductor.plan.steps import drain_seconds, replicas_text
from conductor.plan.transition import KEEPS_CRONTAB, Transition, stops_later
from conductor.times import duration_text

UNCHANGED_FILES = (
    "nginx is not running, so its files are unchanged; once it is running, run conductor nginx install: until then, nginx "
    "returns 502 or 504 instead of 503"
)
RETIRING_POLL_SECONDS = 0.5
FOREIGN_HINT = (
    "remove the names from the other server block; to find it, run nginx -T | grep -E 'configuration file|server_name'"
)


class ChangeSteps:
    """The steps of one change of one or several services. `transitions` is empty in a recovery, which starts nothing new."""

    def __init__(
        self, context: Context, services: Sequence[ServiceChange], transitions: Sequence[Transition] = ()
    ) -> None:
        self.context = context
        self.services = tuple(services)
        self.warnings = 0
        self.stopping = Stopping(context, self.services, self.warn)
        self.hooks_ran: list[str] = []
        self._transitions = dict(zip(self.services, transitions, strict=False))
        self._routed = tuple(one for one in self.services if one.routed)
        self._cut = 0  # requests

    def warn(self, text: str) -> None:
        """Report and count a warning."""
        self.warnings += 1
        self.context.output.emit(Warned(text=text))

    def progress(self, step: str) -> Callable[[str], None]:
        """Return a function that reports what the step is waiting for: a new text at once, the same one now and then."""
        return text_reporter(self.context.output, self.context.clock, step)

    def is_committed(self) -> bool:
        """True once the commit has begun. Read from disk, because a failed write may still have replaced the file."""
        return any(self.context.store.wanted(one.service).change == one.journal.change for one in self.services)

    # Before the commit.

    def generate(self) -> None:
        """Generate the crontabs. An invalid one ends the change before anything starts."""
        for service, transition in self._transitions.items():
            if transition.generate:
                release = service.journal.release
                change, progress = service.journal.change, self.progress("generate")
                text = generate(self.context, service.definition, release, change, progress)
                for note in parse(text).warnings:
                    self.warn(f"crontab for {service.service}, {note}")
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
        for one in services:
            one.locate()

    def gate(self) -> None:
        """Wait until every new replica is healthy."""
        self._gate("gate", self.services)

    def _gate(self, step: StepName, services: Sequence[ServiceChange]) -> None:
        Gate(self.context, self._candidates(services)).wait(self.progress(step))

    def _candidates(self, services: Sequence[ServiceChange]) -> list[Candidate]:
        """Return the new replicas to check. One that is missing was removed by another program and fails the gate."""
        new = {one: one.new() for one in services}
        for one, replicas in new.items():
            if missing := len(one.journal.reserved) - len(replicas):
                raise GateFailed(f"{replicas_text(missing)} of {one.service} disappeared after starting")
        return [
            Candidate(replica, health, health.port or one.definition.service.port, one.redact)
            for one in services
            if (health := one.definition.service.health)
            for replica in new[one]
        ]

    def replace(self) -> None:
        """`order: stop-first`: stop the old replicas, then start and gate the new ones. The old ones stay until the commit."""
        services = [one for one, transition in self._transitions.items() if transition.stop_first]
        for one in services:
            self._await_retiring("replace", one)
            refuse_running(one.retiring(), "new")
            one.write_ahead(old_stopped=True)
            self.stopping.stop("replace", [(replica, one.old_grace()) for replica in one.old()])
            refuse_running(one.old(), "new")
        self._start(services)
        self._gate("replace", services)

    def canary(self) -> None:
        """Send a share of the requests to new replicas, and wait until these may get all. The journals hold what undoes it."""
        canaries = {one: transition.canary for one, transition in self._transitions.items() if transition.canary}

        def record(cutover: Cutover) -> None:
            for one in canaries:
                one.write_ahead(canary=cutover)

        routes = [one.canary_route(canary.share) for one, canary in canaries.items()]
        Gate(self.context, self._candidates(tuple(canaries))).check_again()
        self.context.traffic.switch(routes, record)
        watch(self.context, canaries, self.progress("canary"))

    def cutover(self) -> None:
        """Switch the traffic. Before anything changes, the journals hold what is needed to undo the switch and to drain.

        New replicas are checked again: one that passed may have failed while the gate waited for others, or while another
        cutover had the traffic layer. Kept replicas that have exited meanwhile get no traffic.
        """

        def check_and_record(cutover: Cutover) -> None:
            if all(one.journal.cutover is None for one in self._routed):
                Gate(self.context, self._candidates(self.services)).check_again()
            self.record_cutover(cutover)

        if not self._routed:
            self.warn(UNCHANGED_FILES)
            return
        for one in self._routed:
            if ended := one.kept_that_ended():
                one.write_ahead(unfit=one.journal.unfit | ended)
        found = self.context.traffic.switch([one.route() for one in self._routed], check_and_record)
        texts = {
            one: f"requests for {one.name} on {one.address} do not reach {one.service}: another server block handles them"
            for one in found
        }
        lost = sorted({one.service for one in found if one.everything})
        if lost and self.services[0].journal.action in {"upgrade", "rollback"}:  # a repair must not fail for this
            raise ConductorError(f"no requests reach {', '.join(lost)}", FOREIGN_HINT, tuple(texts.values()))
        for text in texts.values():
            self.warn(text)

    def record_cutover(self, cutover: Cutover, services: Sequence[ServiceChange] = ()) -> None:
        """Write a cutover of `services`, by default of all, into their journals, ahead of the traffic layer."""
        for one in services or self._routed:
            first = one.journal.cutover is None and one.journal.canary is None
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
        self._drain({endpoint for one in self._routed for endpoint in one.journal.drained_endpoints}, self._routed)

    def _drain(self, endpoints: set[str], services: Sequence[ServiceChange]) -> None:
        routed = [one for one in services if one.journal.cutover is not None]
        cutover = routed[0].journal.cutover if routed else None
        if cutover is None or not endpoints:
            return
        seconds = max(drain_seconds(one.definition) for one in routed)
        progress = drain_reporter(self.context.output, self.context.clock)
        drained = self.context.traffic.drain(cutover, sorted(endpoints), seconds, progress)
        if routed[0].journal.action != "maintenance-on":
            self._cut += drained.cut
        if drained.unknown:
            self.warn(
                "the drain reached its deadline, and nginx is not responding: the number of requests that were cut off is unknown"
            )
        if drained.cut or drained.silent:
            requests = f"{drained.cut} request{'s' * (drained.cut != 1)}"
            connections = f"{drained.silent} idle connection{'s' * (drained.silent != 1)}"
            left = f"{requests} {'was' if drained.cut == 1 else 'were'} cut off, and {connections} {'was' if drained.silent == 1 else 'were'} still open"
            if routed[0].journal.action == "maintenance-on":
                left = f"{requests} {'is' if drained.cut == 1 else 'are'} still in progress, and {connections} may still send a request"
            self.warn(f"the drain reached its deadline of {duration_text(seconds)}: {left}")

    def retire(self) -> None:
        """Stop and remove the old replicas in parallel, except those that are not waited for (`stop: {wait: false}`)."""
        for one in self.services:
            if stops_later(one.journal.action, one.journal.old.release):
                self.stopping.signal(one)
            if one.journal.new.stopped:
                self._await_retiring("retire", one)
        old = [(replica, one.old_grace()) for one in self.services for replica in one.old()]
        self.stopping.remove(old, killed=self.stopping.stop("retire", old))

    def _await_retiring(self, step: StepName, one: ServiceChange) -> None:
        """Wait for the old replicas of earlier deploys: nothing runs beside a stopped or a stop-first service."""
        progress = self.progress(step)
        while running := clean_up_retiring(self.context, one.service, self.warn):
            progress(f"{replicas_text(running)} of {one.service} from earlier deploys must exit first")
            self.context.cancellation.wait(RETIRING_POLL_SECONDS)

    def crontab(self) -> None:
        """Install the crontabs; remove those of services that have none or are stopped."""
        for one in self.services:
            if one.journal.action not in KEEPS_CRONTAB:
                text = None if one.journal.new.stopped else wrapped(self.context, one.journal.release)
                self.context.crontabs.put(one.service, text)
                wanted = self.context.store.wanted(one.service)
                if self.context.host.fleet and wanted.crontab_removed:  # the other managers follow
                    self.context.store.write_wanted(msgspec.structs.replace(wanted, crontab_removed=False))
                if text and (warning := cron_command_warning(self.context.host)):
                    self.warn(f"crontab for {one.service}: {warning}")

    def end(self, outcome: Outcome, cause: str = "") -> None:
        """Release addresses, write the history (`cause`: why the change was rolled back), remove the journals. No failure here
        fails the change."""
        for one in self.services:
            with contextlib.suppress(ConductorError):
                clean_up_retiring(self.context, one.service, self.warn)
            try:
                one.end(outcome, self.warnings, cause, self._cut)
                self._cut = 0
            except ConductorError as error:
                self.warn(f"{error.sentence}; fix this; the next command on {one.service} will finish the change")

    # Rolling back.

    def undo_replace(self) -> None:
        """`order: stop-first`: start the old replicas again at their own addresses, once the new ones are gone.

        Those that still run are restarted: `before_stop` may have made them take no work, and after an interruption they may
        have received the stop signal, and exit later.
        """
        for one in self.services:
            if one.journal.old_stopped:
                self.remove_new([(one, one.definition.service.stop.grace)])
                refuse_running(one.new(), "old")
                ran = {replica.id for replica in one.journal.before if replica.may_run}
                self.stopping.start_again(
                    [replica for replica in one.old() if replica.id in ran and not replica.waits], one.old_grace()
                )

    def undo_cutover(self) -> None:
        """Restore what the traffic layer served before, exactly as it was, and drain the new replicas.

        The cutover of a canary and that of services without one are undone one after the other, each by its own journals.
        """
        undone: list[Sequence[ServiceChange]] = []
        for canary in (True, False):
            services = [one for one in self._routed if (one.journal.canary is not None) == canary]
            made = next((cut for one in services if (cut := one.journal.canary or one.journal.cutover)), None)
            if made is None:
                continue
            ids = [one.service for one in services]
            try:
                self.context.traffic.undo(made, ids, partial(self.record_cutover, services=services))
            except ConductorError as error:
                raise error.within(
                    f"undo the cutover of {', '.join(ids)}",
                    details=("old and new replicas both keep running until the cutover is undone",),
                ) from error
            undone.append(services)
        for group in undone:
            self._drain({endpoint for one in group for endpoint in one.journal.new_endpoints}, group)

    def remove_new(self, services: Sequence[tuple[ServiceChange, float]]) -> None:
        """Stop and remove the new replicas of services in parallel, each with its grace in seconds."""
        new = [(replica, grace) for one, grace in services for replica in one.new()]
        self.stopping.remove(new, killed=self.stopping.stop("rollback", new))
