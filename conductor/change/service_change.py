"""One service in a change: what its journal says, and what is done for it alone. `group.py` walks the steps for all.

All that is known between two steps stands in the journal, so that a change that died is finished or undone by the very
code that would have done it (`settle.py`).
"""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from conductor.change.context import Context
from conductor.change.network import ADDRESSES_LOCK_SECONDS
from conductor.definitions.environment import environment, redaction
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.definitions.redaction import redactor
from conductor.definitions.scalars import Secret
from conductor.errors import ConductorError
from conductor.plan import addresses
from conductor.plan.container_spec import container_spec
from conductor.plan.values import Container, Journal, Worker
from conductor.traffic.render import Former, Route, addresses_in

KEPT_LOG_LINES = 2000  # of a container that goes


class Member:
    """A service under its lock; `journal` is on disk before anything it speaks of begins."""

    def __init__(self, context: Context, journal: Journal) -> None:
        self.context = context
        self.journal = journal
        self.id = journal.service
        self.definition = restore(journal.service, journal.release.definition)
        self.through_nginx = any(d.service.nginx for d in (self.definition, self._old_definition()))
        self.survivors: tuple[Worker, ...] = ()
        self._without_secrets: Callable[[str], str] | None = None

    def note(self, **fields: Any) -> None:
        """Write ahead."""
        self.journal = msgspec.structs.replace(self.journal, **fields)
        self.context.store.write_journal(self.journal)

    # Whom this change is about, by address: containers of this service have one from before they are made.

    @property
    def added(self) -> tuple[str, ...]:
        """Addresses of the containers that this change starts."""
        return tuple(a for a in self.journal.after if a not in self.journal.keep)

    def new(self) -> tuple[Container, ...]:
        """The containers that this change has made so far."""
        return tuple(c for c in self._containers() if c.address in self.added)

    def gone(self) -> tuple[Container, ...]:
        """The containers that go when it is done."""
        return tuple(c for c in self._containers() if c.address not in self.journal.after)

    def _containers(self) -> tuple[Container, ...]:
        return tuple(c for c in self.context.runtime.containers(self.id) if c.kind == "service")

    # Secrets.

    def read_secrets(self) -> dict[str, str | Secret]:
        """The environment of the new containers; read before anything is made."""
        values = environment(self.definition.service)
        self._without_secrets = redactor(values.values())
        return values

    def redact(self, text: str) -> str:
        """The text without the values of secrets; an app may well log what it was given."""
        if self._without_secrets is None:
            self._without_secrets = redaction(self.definition.service)
        return self._without_secrets(text)

    def keep_log(self, container: Container) -> None:
        """What a container that goes has said, for the day after; nothing when its secrets cannot be read. A failure here
        fails nothing.
        """
        with contextlib.suppress(ConductorError, OSError):
            redact = self._redactor_of(container)
            lines = self.context.runtime.logs(container.id, KEPT_LOG_LINES)
            self.context.store.keep_log(container.name, [redact(line) for line in lines])

    def _redactor_of(self, container: Container) -> Callable[[str], str]:
        """By its own release's definition: the values in its files now, and those it was given, which may be older."""
        new = container.change == self.journal.release.change
        values = environment((self.definition if new else self._old_definition()).service)
        given = self.context.runtime.environment(container.id)
        older = [Secret(given[name]) for name, value in values.items() if isinstance(value, Secret) and name in given]
        return redactor([*values.values(), *older])

    # Starting.

    def starts(self, count: int) -> list[Callable[[], None]]:
        """What starts `count` new containers, each on an address of its own, reserved now; to be called side by side."""
        values = self.read_secrets()
        first = self._next_number()
        picked = self._reserve(count)
        self.note(after=self.journal.keep + picked)
        return [self._start(number, address, values) for number, address in enumerate(picked, first)]

    def _next_number(self) -> int:
        numbers = (c.name.rpartition("-")[2] for c in self._containers() if c.change == self.journal.release.change)
        return max((int(n) for n in numbers if n.isdigit()), default=0) + 1

    def _reserve(self, count: int) -> tuple[str, ...]:
        context, network = self.context, self.context.host.network
        with context.locks.hold("addresses", wait_seconds=ADDRESSES_LOCK_SECONDS):
            context.runtime.ensure_network(network)
            book = context.store.addresses()
            if book.quarantine:
                known = [worker for workers in book.quarantine.values() for worker in workers]
                book = book.without_dead(context.traffic.living(known))
            used = context.runtime.used_addresses(network) | context.traffic.known()
            book, picked = addresses.pick(
                book, self.definition.service, network, change=self.journal.change, count=count, used=used
            )
            context.store.write_addresses(book)
        return picked

    def _start(self, number: int, address: str, values: dict[str, str | Secret]) -> Callable[[], None]:
        runtime, host = self.context.runtime, self.context.host
        spec = container_spec(
            self.definition, self.journal.release, values, instance=host.instance,
            network=host.network.name, kind="service", name=str(number), address=address,
        )  # fmt: skip

        def start() -> None:
            container = runtime.create(spec)
            runtime.start(container)
            state = runtime.inspect(container)
            if state is not None and state.running and state.address != address:
                raise ConductorError(f"cannot use {spec.name}: it has address {state.address}, not {address}")

        return start

    # Traffic.

    def route(self) -> Route:
        """What nginx shall know when the change is done; a service that has left nginx answers 503."""
        if self.definition.service.nginx:
            return Route(self.definition, self.journal.after)
        return Route(self._old_definition(), ())

    def former(self) -> Former | None:
        """What nginx included for it when the cutover began; None when none had begun."""
        cutover, name = self.journal.cutover, self.route().file_name
        return None if cutover is None else Former(name, cutover.files.get(name))

    def knew(self) -> frozenset[str]:
        """Addresses that nginx may have sent requests to before, and shall no more."""
        former = self.former()
        before = {*self.journal.before, *addresses_in(former.text if former else None)}
        return frozenset(before.difference(self.journal.after))

    def _old_definition(self) -> Definition:
        """That of the release before, or the new one when there is none, or none that this Conductor still reads."""
        old = self.journal.old.release
        with contextlib.suppress(ConductorError):
            return restore(self.id, old.definition) if old else self.definition
        return self.definition

    # Stopping.

    def grace(self) -> float:
        """How long old containers may take to stop, as their own release has it."""
        return self._old_definition().service.stop.grace

    def end(self, outcome: str, warnings: int) -> None:
        """Give the addresses back, write the history, and forget the change; when one of these cannot be written, the
        journal stays, and the next command ends the change.
        """
        gone = self.knew() if outcome.startswith("done") else self.added
        with self.context.locks.hold("addresses", wait_seconds=ADDRESSES_LOCK_SECONDS):
            book = self.context.store.addresses()
            self.context.store.write_addresses(book.released(self.journal.change, gone, self.survivors))
        self.context.store.record(self._history(outcome, warnings))
        self.context.store.remove_journal(self.id)

    def _history(self, outcome: str, warnings: int) -> dict[str, Any]:
        journal, old = self.journal, self.journal.old.release
        return {
            "at": self.context.clock.now(),
            "began": journal.began,
            "who": journal.who,
            "command": journal.command,
            "action": journal.action,
            "service": journal.service,
            "change": journal.change,
            "from": old.revision if old else None,
            "to": journal.release.revision,
            "image_id": journal.release.image_id,
            "image_digest": journal.release.image_digest,
            "count": len(journal.after) if outcome.startswith("done") else len(journal.before),
            "outcome": outcome,
            **({"reason": journal.why} if journal.why else {}),
            "warnings": warnings,
            "steps": journal.steps,
        }
