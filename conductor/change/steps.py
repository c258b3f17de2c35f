"""The steps of a change that do something, and their undoing. All they know between two steps stands in the journal,
so that a change that died is finished or undone by the very code that would have done it (`settle.py`).
"""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from conductor.change.doors import Doors
from conductor.change.gate import Gate
from conductor.definitions.environment import environment
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.definitions.scalars import Secret
from conductor.errors import ConductorError
from conductor.plan import addresses
from conductor.plan.spec import container_spec
from conductor.plan.upgrade import wanted_count
from conductor.plan.values import Container, Journal, Worker
from conductor.proxy.render import Site
from conductor.report.events import Began, Ended, Waiting, Warned

UNDO_GRACE_SECONDS = 5.0  # a container that never was healthy, or that drained, gets no longer to go
AT_ONCE = 16  # calls to the daemon side by side


class Change:
    """One change of one service, under the service's lock; `journal` is on disk before anything it speaks of begins."""

    def __init__(self, doors: Doors, journal: Journal) -> None:
        self.doors = doors
        self.journal = journal
        self.definition = restore(journal.service, journal.new.definition)
        self.warnings = 0
        self.must_act: list[str] = []
        self._survivors: tuple[Worker, ...] = ()
        self._secrets: tuple[str, ...] = ()

    # What the journal and the daemon say.

    def note(self, **fields: Any) -> None:
        """Write ahead."""
        self.journal = msgspec.structs.replace(self.journal, **fields)
        self.doors.store.write_journal(self.journal)

    def containers(self, *, new: bool) -> tuple[Container, ...]:
        """The containers this change made, or all others of the service."""
        found = self.doors.engine.containers(self.journal.service)
        return tuple(c for c in found if c.kind == "service" and (c.change == self.journal.change) == new)

    def redact(self, text: str) -> str:
        """The text without the values of secrets; an app may well log what it was given."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text

    @contextlib.contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Tell that a step begins and ends, and note how long it took."""
        self.doors.report.emit(Began(name, text))
        began = self.doors.clock.monotonic()
        yield
        seconds = self.doors.clock.monotonic() - began
        self.journal = msgspec.structs.replace(self.journal, steps={**self.journal.steps, name: round(seconds, 3)})
        self.doors.report.emit(Ended(name, seconds))

    def warn(self, text: str) -> None:
        """Count and tell what is done but not as it should be."""
        self.warnings += 1
        self.doors.report.emit(Warned(text))

    def _waiting(self, step: str) -> Callable[[str], None]:
        said = ""

        def waiting(text: str) -> None:
            nonlocal said
            if text != said:
                said = text
                self.doors.report.emit(Waiting(step, text))

        return waiting

    # Before the commit.

    def read_secrets(self) -> dict[str, str | Secret]:
        """The environment of the new containers; read before anything is made."""
        values = environment(self.definition.service)
        self._secrets = tuple(v.reveal() for v in values.values() if isinstance(v, Secret) and len(v.reveal()) >= 4)
        return values

    def start(self) -> None:
        """Make and start all new containers side by side, each on an address of its own."""
        values = self.read_secrets()
        self.doors.engine.ensure_network(self.doors.host.network)
        count = wanted_count(self.doors.store.wanted(self.journal.service), self.definition)
        self.note(after=self._reserve(count))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            started = [pool.submit(self._start_one, n, a, values) for n, a in enumerate(self.journal.after, 1)]
        for future in started:
            future.result()

    def _reserve(self, count: int) -> tuple[str, ...]:
        doors, network = self.doors, self.doors.host.network
        with doors.locks.hold("addresses", wait_seconds=30):
            book = doors.store.addresses()
            if book.quarantine:
                known = [worker for workers in book.quarantine.values() for worker in workers]
                book = book.without_dead(doors.proxy.living(known))
            used = doors.engine.used_addresses(network)
            book, picked = addresses.pick(
                book, self.definition.service, network, change=self.journal.change, count=count, used=used
            )
            doors.store.write_addresses(book)
        return picked

    def _start_one(self, number: int, address: str, values: dict[str, str | Secret]) -> None:
        engine, host = self.doors.engine, self.doors.host
        spec = container_spec(
            self.definition, self.journal.new, values, instance=host.instance,
            network=host.network.name, kind="service", number=number, address=address,
        )  # fmt: skip
        container = engine.create(spec)
        engine.start(container)
        state = engine.inspect(container)
        if state is not None and state.running and state.address != address:
            raise ConductorError(f"cannot use {spec.name}: it has address {state.address}, not {address}")

    def gate(self) -> None:
        """Wait until every new container is healthy."""
        health = self.definition.service.health
        if health is not None:
            Gate(self.doors, health, self.redact).pass_all(self.containers(new=True), self._waiting("gate"))

    def cutover(self) -> None:
        """Move nginx; what it knew and which workers knew it stands in the journal before the first file changes."""
        self._switch(self.definition, self.journal.after, force=False)

    def _switch(self, definition: Definition, to: tuple[str, ...], *, force: bool) -> None:
        def ahead(workers: tuple[Worker, ...]) -> None:
            begun = self.journal.workers is not None
            try:
                self.note(workers=workers)
            except ConductorError as error:
                if not begun:
                    raise
                self.warn(error.sentence)  # a full disk; the journal says already that nginx may know either set

        self.doors.proxy.switch((Site(definition, to),), ahead, force=force)

    def commit(self) -> None:
        """The one write that makes the new release the wanted one; from here on a signal changes nothing."""
        wanted = self.doors.store.wanted(self.journal.service)
        self.doors.store.write_wanted(wanted.committed(self.journal.new, self.doors.host.keep))
        self.doors.clock.finishing()

    # After the commit.

    def resume(self) -> None:
        """After a crash: make sure that nginx really is where the commit says."""
        if self.definition.service.nginx and not self.doors.proxy.in_force((self._site(),)):
            self._switch(self.definition, self.journal.after, force=True)

    def _site(self) -> Site:
        return Site(self.definition, self.journal.after)

    def drain(self) -> None:
        """Wait until no request can reach, or is in, an old container."""
        old = {c.address for c in self.containers(new=False)} | set(self.journal.before)
        self._drain(tuple(sorted(old)))

    def _drain(self, old: tuple[str, ...]) -> None:
        nginx = self.definition.service.nginx
        if nginx is None or not self.journal.workers:
            return
        drained = self.doors.proxy.drain(self.journal.workers, old, nginx.drain, self._waiting("drain"))
        self._survivors = drained.survivors
        if drained.cut or drained.silent:
            self.warn(
                f"the drain reached its deadline of {nginx.drain:g}s: {drained.cut} requests cut, "
                f"{drained.silent} silent connections closed"
            )

    def retire(self) -> None:
        """Stop and remove the old containers side by side."""
        grace = self.definition.service.stop.grace
        if self.journal.old is not None:
            grace = restore(self.journal.service, self.journal.old.definition).service.stop.grace
        self._retire(self.containers(new=False), grace)

    def _retire(self, containers: tuple[Container, ...], grace: float) -> None:
        if not containers:
            return
        self._waiting("retire")(f"{len(containers)} containers, grace {grace:g}s")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for container, outcome in zip(
                containers, pool.map(lambda c: self._retire_one(c, grace), containers), strict=True
            ):
                if isinstance(outcome, ConductorError):
                    self.must_act.append(container.name)
                    self.warn(f"{outcome.sentence}; remove it by hand: docker rm -f {container.name}")
                elif outcome:
                    self.warn(f"{container.name} did not stop within {grace:g}s and was killed")

    def _retire_one(self, container: Container, grace: float) -> bool | ConductorError:
        engine = self.doors.engine
        try:
            killed = container.running and engine.stop(container.id, grace)
            engine.remove(container.id)
        except ConductorError as error:
            return error
        return killed

    def end(self, outcome: str) -> None:
        """Give the addresses back, write the history, and forget the change. Nothing of this can fail the change: what
        cannot be written (a full disk) stays with the journal, and the next command on the service settles it."""
        gone = self.journal.before if outcome.startswith("done") else self.journal.after
        try:
            with self.doors.locks.hold("addresses", wait_seconds=30):
                book = self.doors.store.addresses()
                self.doors.store.write_addresses(book.released(self.journal.change, gone, self._survivors))
            self.doors.store.record(self._history(outcome))
            self.doors.store.remove_journal(self.journal.service)
        except ConductorError as error:
            self.warn(f"{error.sentence}; mend that, the next command on {self.journal.service} ends this one")

    def _history(self, outcome: str) -> dict[str, Any]:
        journal = self.journal
        return {
            "at": self.doors.clock.now(),
            "began": journal.began,
            "who": journal.who,
            "command": journal.command,
            "action": journal.action,
            "service": journal.service,
            "change": journal.change,
            "from": journal.old.revision if journal.old else None,
            "to": journal.new.revision,
            "image_id": journal.new.image_id,
            "outcome": outcome,
            "warnings": self.warnings,
            "steps": journal.steps,
        }

    # Undoing.

    def undo(self, outcome: str) -> None:
        """Back to what ran before: a cutover back if one had begun, and the new containers go once nobody knows them."""
        with self.doors.clock.shielded():
            if self.journal.workers is not None:
                self._cut_back()
            grace = min(self.definition.service.stop.grace, UNDO_GRACE_SECONDS)
            self._retire(self.containers(new=True), grace)
            self.end(outcome)

    def _cut_back(self) -> None:
        old = self.journal.old
        definition = restore(self.journal.service, old.definition) if old else self.definition
        try:
            self._switch(definition, self.journal.before, force=True)
        except ConductorError as error:
            raise ConductorError(
                f"cannot undo the cutover of {self.journal.service}: {error.sentence}",
                "old and new containers both stay until it is undone",
                error.details,
            ) from error
        self._drain(self.journal.after)
