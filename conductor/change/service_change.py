"""The part of a change that concerns one service: its journal, and the actions on that service alone.

The journal holds everything that is known between two steps. `recover.py` therefore finishes or rolls back an interrupted
change with the same code.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from conductor.change.context import Context
from conductor.definitions.environment import environment, redaction
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.definitions.redaction import redactor
from conductor.definitions.scalars import Secret
from conductor.errors import ConductorError
from conductor.plan import addresses
from conductor.plan.container_spec import container_spec
from conductor.plan.history import FINISHED, HistoryEntry, Outcome
from conductor.plan.journal import Journal
from conductor.plan.replica import Replica, TaskContainer
from conductor.plan.route import Route
from conductor.plan.transition import was_routed
from conductor.state.locks import ADDRESSES_SECONDS

KEPT_LOG_LINES = 2000  # of a removed container


class ServiceChange:
    """One service under its lock. `journal` is on disk before anything it describes begins."""

    def __init__(self, context: Context, journal: Journal) -> None:
        self.context = context
        self.journal = journal
        self.service = journal.service
        self.definition = restore(journal.service, journal.release.definition)
        self.routed = self.definition.service.nginx is not None or was_routed(journal.old)
        self._redact: Callable[[str], str] | None = None

    def write_ahead(self, **fields: Any) -> None:
        """Record fields in the journal."""
        self.journal = msgspec.structs.replace(self.journal, **fields)
        self.context.store.write_journal(self.journal)

    def new(self) -> tuple[Replica, ...]:
        """Return the replicas that this change has started so far."""
        return tuple(one for one in self._replicas() if one.change == self.journal.change)

    def old(self) -> tuple[Replica, ...]:
        """Return the replicas that this change removes."""
        return tuple(
            one for one in self._replicas() if one.change != self.journal.change and one.id not in self.journal.keep
        )

    def _replicas(self) -> tuple[Replica, ...]:
        return self.context.runtime.containers(self.service).replicas

    # Secrets and logs.

    def read_environment(self) -> dict[str, str | Secret]:
        """Return the environment of new replicas; read before anything is created."""
        values = environment(self.definition.service)
        self._redact = redactor(values.values())
        return values

    def redact(self, text: str) -> str:
        """Return `text` without the values of secrets: an app may log what it was given."""
        if self._redact is None:
            self._redact = redaction(self.definition.service)
        return self._redact(text)

    def keep_log(self, container: Replica | TaskContainer) -> None:
        """Store the log of a container before its removal, without secrets. If the secrets cannot be read, store nothing.

        A failure here never fails the change.
        """
        with contextlib.suppress(ConductorError, OSError):
            redact = self._redactor_of(container)
            lines = self.context.runtime.logs(container.id, KEPT_LOG_LINES)
            self.context.store.keep_log(self.service, container.name, [redact(line) for line in lines])

    def _redactor_of(self, container: Replica | TaskContainer) -> Callable[[str], str]:
        """Return a function that removes the container's secrets: the current ones, and those it was started with."""
        new = container.change == self.journal.change
        values = environment((self.definition if new else self.old_definition()).service)
        given = self.context.runtime.environment(container.id)
        older = [Secret(given[name]) for name, value in values.items() if isinstance(value, Secret) and name in given]
        return redactor([*values.values(), *older])

    # Starting.

    def prepare_start(self, count: int) -> list[Callable[[], None]]:
        """Reserve an address for each of `count` new replicas; return the calls that start them, in any order or at once."""
        values = self.read_environment()
        first = 1 + max((number for one in self.new() if (number := _number(one))), default=0)
        reserved = self._reserve(count)
        self.write_ahead(reserved=(*self.journal.reserved, *reserved))
        return [self._start(number, address, values) for number, address in enumerate(reserved, first)]

    def _reserve(self, count: int) -> tuple[str, ...]:
        context, network = self.context, self.context.host.network
        with context.locks.hold("addresses", wait_seconds=ADDRESSES_SECONDS):
            context.runtime.ensure_network(network)
            used = context.runtime.used_addresses(network) | context.traffic.known()
            book, reserved = addresses.reserve(
                context.store.addresses(), self.definition.service, network, change=self.journal.change, count=count,
                used=used,
            )  # fmt: skip
            context.store.write_addresses(book)
        return reserved

    def _start(self, number: int, address: str, values: dict[str, str | Secret]) -> Callable[[], None]:
        host = self.context.host
        spec = container_spec(
            self.definition, self.journal.release, values, instance=host.instance, network=host.network.name,
            kind="service", change=self.journal.change, name=str(number), address=address,
        )  # fmt: skip

        def start() -> None:
            start_at(self.context, self.context.runtime.create(spec), spec.name, address)

        return start

    # Traffic.

    def route(self) -> Route:
        """Return the route once the change is done. A service that no longer has nginx answers 503."""
        if self.definition.service.nginx:
            return Route(self.definition, self.journal.endpoints, self.journal.release.template)
        old = self.journal.old.release
        return Route(self.old_definition(), (), old.template if old else None)

    def old_definition(self) -> Definition:
        """Return the definition of the previous release, or the new definition if there is none that can be read."""
        old = self.journal.old.release
        with contextlib.suppress(ConductorError):
            return restore(self.service, old.definition) if old else self.definition
        return self.definition

    # Ending.

    def old_grace(self) -> float:
        """Return how long old replicas may take to stop, by their own release."""
        return self.old_definition().service.stop.grace

    def end(self, outcome: Outcome, warnings: int) -> None:
        """Release the addresses, write the history, remove the journal.

        When one of these cannot be written, the journal stays, and the next command ends the change.
        """
        with self.context.locks.hold("addresses", wait_seconds=ADDRESSES_SECONDS):
            book = self.context.store.addresses()
            self.context.store.write_addresses(book.released(self.journal.change))
        self.context.history.append(self._history_entry(outcome, warnings))
        self.context.store.remove_journal(self.service)

    def _history_entry(self, outcome: Outcome, warnings: int) -> HistoryEntry:
        journal, old = self.journal, self.journal.old.release
        return HistoryEntry(
            at=self.context.clock.now(),
            service=journal.service,
            action=journal.action,
            outcome=outcome,
            who=journal.who,
            command=journal.command,
            change=journal.change,
            began=journal.began,
            from_=old.revision if old else None,
            to=journal.release.revision,
            image_id=journal.release.image_id,
            image_digest=journal.release.image_digest,
            count=journal.count if outcome in FINISHED else sum(one.running for one in journal.before),
            reason=journal.reason,
            warnings=warnings,
            steps=journal.steps,
        )


def start_at(context: Context, container: str, name: str, address: str) -> None:
    """Start a container and verify that it has the address that Conductor gave it."""
    context.runtime.start(container)
    state = context.runtime.inspect(container)
    if state is not None and state.running and state.address != address:
        raise ConductorError(f"cannot use {name}: it has address {state.address} instead of {address}")


def _number(replica: Replica) -> int:
    last = replica.name.rpartition("-")[2]
    return int(last) if last.isdigit() else 0
