"""The steps of a change, for one service or for several that transition together: healthy all, switched by one reload, undone
all. Each method is a step of DESIGN section 5; what it needs it finds in the journals and at the daemon.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import msgspec

from conductor.change.context import Context
from conductor.change.crontab import generate, wrapped
from conductor.change.gate import Candidate, Gate
from conductor.change.hooks import NOT_UNDONE, remove_hooks, run_hook
from conductor.change.service_change import Member
from conductor.cron.table import parse
from conductor.errors import ConductorError
from conductor.output.events import Began, Ended, Waiting, Warned
from conductor.plan.steps import drain_seconds, swaps
from conductor.plan.transition import KEEPS_CRONTAB, Transition
from conductor.plan.values import Container, Cutover

UNDO_GRACE_SECONDS = 5.0  # a container that never was healthy, or that drained, gets no longer to go
MEANWHILE_SECONDS = 0.2  # how often who waits for the daemon looks up
AT_ONCE = 16  # calls to the daemon side by side


class Group:
    """The services of one call. `transitions` is empty when a change that died is settled: then nothing new is started."""

    def __init__(self, context: Context, members: Sequence[Member], transitions: Sequence[Transition] = ()) -> None:
        self.context = context
        self.members = tuple(members)
        self.warnings = 0
        self.must_act: list[str] = []
        self._moves = dict(zip(self.members, transitions, strict=False))
        self._through_nginx = tuple(m for m in self.members if m.through_nginx)

    # Telling.

    @contextlib.contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Tell that a step begins and ends, and note how long it took."""
        self.context.report.emit(Began(name, text))
        began = self.context.clock.monotonic()
        yield
        seconds = round(self.context.clock.monotonic() - began, 3)
        if name != "record":  # after which there is no journal
            for member in self.members:
                with contextlib.suppress(ConductorError):  # a full disk: no step depends on how long another took
                    member.note(steps={**member.journal.steps, name: seconds})
        self.context.report.emit(Ended(name, seconds))

    def warn(self, text: str) -> None:
        """Count and tell what is done but not as it should be."""
        self.warnings += 1
        self.context.report.emit(Warned(text))

    def _waiting(self, step: str) -> Callable[[str], None]:
        said = ""

        def waiting(text: str) -> None:
            nonlocal said
            if text != said:
                said = text
                self.context.report.emit(Waiting(step, text))

        return waiting

    def committed(self) -> bool:
        """Whether the commit has begun: read from disk, as a write that failed may have been done."""
        return any(self.context.store.wanted(m.id).change == m.journal.change for m in self.members)

    # Before the commit.

    def generate(self) -> None:
        """Have the crontabs printed; a bad one ends the change before anything of it runs."""
        for member, transition in self._moves.items():
            if transition.generate:
                release = member.journal.release
                text = generate(self.context, member.definition, release, member.journal.change)
                for note in parse(text).warnings:
                    self.warn(f"crontab of {member.id}, {note}")
                release = msgspec.structs.replace(release, crontab=text)
                member.note(new=msgspec.structs.replace(member.journal.new, release=release))

    def hook(self) -> None:
        """Run the hooks one after the other."""
        ran: list[str] = []
        for member, transition in self._moves.items():
            if transition.hook:
                try:
                    run_hook(member, transition.hook)
                except ConductorError as error:
                    error.details = (*error.details, *(f"before_upgrade of {one} {NOT_UNDONE}" for one in ran))
                    raise
                ran.append(member.id)

    def start(self) -> None:
        """Make and start all new containers side by side, but for those that must not overlap with old ones."""
        self._start([m for m, transition in self._moves.items() if not swaps(transition)])

    def _start(self, members: Sequence[Member]) -> None:
        jobs = [job for member in members for job in member.starts(self._moves[member].added)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            started = [pool.submit(job) for job in jobs]
        for future in started:
            future.result()

    def gate(self) -> None:
        """Wait until every new container is healthy."""
        self._gate("gate", self.members)

    def _gate(self, step: str, members: Sequence[Member]) -> None:
        candidates = [
            Candidate(container=container, health=member.definition.service.health, redact=member.redact)
            for member in members
            if member.definition.service.health
            for container in member.new()
        ]
        Gate(self.context, candidates).pass_all(self._waiting(step))

    def swap(self) -> None:
        """`order: stop-first`: stop the old, then start and gate the new; the old are kept until the commit."""
        members = [m for m, transition in self._moves.items() if swaps(transition)]
        for member in members:
            member.note(stopped=True)
            self._stop([(c, member.grace()) for c in member.gone()])
            still = [c.name for c in member.gone() if c.running]
            if still:
                raise ConductorError(f"cannot stop {', '.join(still)}; the new may not run beside the old")
        self._start(members)
        self._gate("swap", members)

    def cutover(self) -> None:
        """Transition nginx; what it knew and which workers knew it stands in the journals before the first file changes."""
        self.context.traffic.switch(tuple(m.route() for m in self._through_nginx), self._ahead, force=False)

    def _ahead(self, cutover: Cutover) -> None:
        for member in self._through_nginx:
            begun = member.journal.cutover
            if begun is not None:  # the first one has the files as they were before this change
                cutover = msgspec.structs.replace(cutover, files=begun.files)
            try:
                member.note(cutover=cutover)
            except ConductorError as error:
                if begun is None:
                    raise
                self.warn(error.sentence)  # a full disk; the journal says already that nginx may know either

    def commit(self) -> None:
        """From the first of these writes on the change is finished, never undone; a signal changes nothing any more."""
        for member in self.members:
            self.context.store.write_wanted(member.journal.new)
        self.context.clock.finishing()

    # After the commit.

    def resume(self) -> None:
        """After a crash: all are committed, and nginx really is where the commit says."""
        for member in self.members:
            if self.context.store.wanted(member.id).change != member.journal.change:
                self.context.store.write_wanted(member.journal.new)
        routes = tuple(member.route() for member in self._through_nginx)
        if routes and not self.context.traffic.in_force(routes):
            self.context.traffic.switch(routes, self._ahead, force=True)

    def drain(self) -> None:
        """Wait until no request can reach, or is in, an old container."""
        self._drain({address for member in self._through_nginx for address in member.knew()})

    def _drain(self, old: set[str]) -> None:
        members = [m for m in self._through_nginx if m.journal.cutover is not None]
        cutover = members[0].journal.cutover if members else None
        if cutover is None or not old:
            return
        seconds = max(drain_seconds(member.definition) for member in members)
        drained = self.context.traffic.drain(cutover, tuple(sorted(old)), seconds, self._waiting("drain"))
        for member in members:
            member.survivors = drained.survivors
        if drained.cut or drained.silent:
            self.warn(
                f"the drain reached its deadline of {seconds:g}s: {drained.cut} requests cut, "
                f"{drained.silent} silent connections left"
            )

    def retire(self) -> None:
        """Stop and remove the old containers side by side; `supervise` leaves that to whoever wants its lock."""
        gone = [(c, member.grace()) for member in self.members for c in member.gone()]
        self._retire(gone, self._stop(gone, meanwhile=self.context.clock.check))

    def _retire(self, containers: Sequence[tuple[Container, float]], killed: Sequence[tuple[str, float]]) -> None:
        """Remove what has stopped or been `killed`; what cannot be done is for an operator, and stops nothing else."""
        named = {member.id: member for member in self.members}
        runtime = self.context.runtime
        for name, grace in killed:
            self.warn(f"{name} did not stop within {grace:g}s and was killed")

        def remove(container: Container) -> None:
            named[container.service].keep_log(container)
            runtime.remove(container.id)

        for container, error in self._each([c for c, _ in containers], remove):
            self.must_act.append(container.name)
            self.warn(f"{error.sentence}; remove it by hand: docker rm -f {container.name}")

    def _stop(
        self, containers: Sequence[tuple[Container, float]], meanwhile: Callable[[], None] = lambda: None
    ) -> list[tuple[str, float]]:
        """Stop those that run; the names of those that had to be killed, with their grace. A failure shows in `_each`."""
        graces = {c.id: grace for c, grace in containers if c.running}
        if graces:
            self._waiting("retire")(f"{len(graces)} containers, grace {max(graces.values()):g}s")
        killed: list[tuple[str, float]] = []

        def stop(container: Container) -> None:
            if self.context.runtime.stop(container.id, graces[container.id]):
                killed.append((container.name, graces[container.id]))

        self._each([c for c, _ in containers if c.running], stop, meanwhile)
        return sorted(killed)

    def _each(
        self,
        containers: Sequence[Container],
        act: Callable[[Container], None],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> list[tuple[Container, ConductorError]]:
        """Side by side; those for which it failed. What is not a failure but a bug is raised when all are through;
        what `meanwhile` raises, again and again, ends the waiting, and not what is under way.
        """

        def attempt(container: Container) -> ConductorError | None:
            try:
                act(container)
            except ConductorError as error:
                return error
            return None

        pool = ThreadPoolExecutor(AT_ONCE)
        futures = [(container, pool.submit(attempt, container)) for container in containers]
        pool.shutdown(wait=False)
        while wait([future for _, future in futures], MEANWHILE_SECONDS).not_done:
            meanwhile()
        return [(container, error) for container, future in futures if (error := future.result())]

    def crontab(self) -> None:
        """Install the crontabs, or remove those of services that have none any more, or are stopped."""
        for member in self.members:
            if member.journal.action not in KEEPS_CRONTAB:
                text = None if member.journal.new.stopped else wrapped(self.context, member.journal.release)
                self.context.crontabs.put(member.id, text)

    def end(self, outcome: str) -> None:
        """Addresses, history, journals. Nothing of this can fail the change."""
        for member in self.members:
            try:
                member.end(outcome, self.warnings)
            except ConductorError as error:
                self.warn(f"{error.sentence}; mend that, the next command on {member.id} ends this one")

    # Undoing.

    def undo(self, outcome: str) -> None:
        """Back to what ran before: a cutover back if one had begun, and new containers go once nobody knows them."""
        with self.context.clock.shielded("undoing, one moment"):
            for member in self.members:
                remove_hooks(member)
            self._swap_back()
            self._cut_back()
            for member in self.members:
                grace = min(member.definition.service.stop.grace, UNDO_GRACE_SECONDS)
                new = [(c, grace) for c in member.new()]
                self._retire(new, self._stop(new))
            self.end(outcome)

    def _swap_back(self) -> None:
        """The old of `order: stop-first` start again at their own addresses, after the new are gone: never both."""
        for member in self.members:
            if member.journal.stopped:
                new = [(c, member.definition.service.stop.grace) for c in member.new()]
                self._retire(new, self._stop(new))
                still = [c.name for c in member.new() if c.running]
                if still:
                    raise ConductorError(f"cannot stop {', '.join(still)}; the old may not run beside the new")
                stopped = [c for c in member.gone() if not c.running and c.address in member.journal.before]
                for container, error in self._each(stopped, lambda c: self.context.runtime.start(c.id)):
                    self.must_act.append(container.name)
                    self.warn(f"{error.sentence}; start it by hand: docker start {container.name}")

    def _cut_back(self) -> None:
        """The very files of before, whatever a definition or a template would render to now."""
        former = tuple(was for member in self._through_nginx if (was := member.former()) is not None)
        if not former:
            return
        try:
            self.context.traffic.switch(former, self._ahead, force=True)
        except ConductorError as error:
            raise ConductorError(
                f"cannot undo the cutover of {', '.join(m.id for m in self._through_nginx)}: {error.sentence}",
                "old and new containers both stay until it is undone",
                error.details,
            ) from error
        self._drain({address for member in self._through_nginx for address in member.added})
