"""The part of a change that concerns one service: its journal, and the actions on that service alone.

The journal holds everything that is known between two steps. `recover.py` therefore finishes or rolls back an interrupted
change with the same code.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from conductor.change.container_secrets import redactor_of
from conductor.change.context import Context
from conductor.change.release_files import environment_digest
from conductor.definitions.environment import HIDDEN, environment, files, health_headers, redaction
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.definitions.redaction import redactor
from conductor.definitions.scalars import Secret
from conductor.errors import ConductorError
from conductor.plan import addresses
from conductor.plan.container_spec import container_spec
from conductor.plan.history import FINISHED, RECOVERIES, HistoryEntry, Outcome
from conductor.plan.journal import MAINTENANCE, Journal
from conductor.plan.log import KeptLog
from conductor.plan.release import Wanted
from conductor.plan.replica import Kind, Replica, TaskContainer
from conductor.plan.route import Route, Split
from conductor.plan.transition import was_routed
from conductor.state.history import latest
from conductor.state.locks import ADDRESSES_SECONDS

KEPT_LOG_LINES = 2000  # of a removed container
SHOWN_CHARACTERS = 300  # of the output of a failed `before_stop`


class ServiceChange:
    """One service under its lock. `journal` is on disk before anything it describes begins."""

    def __init__(self, context: Context, journal: Journal) -> None:
        self.context = context
        self.journal = journal
        self.service = journal.service
        self.definition = restore(journal.service, journal.release.definition)
        self.routed = self.definition.service.nginx is not None or was_routed(journal.old)
        if self.routed and journal.action == "stop" and journal.cutover is None and context.host.fleet is None:
            # While the traffic layer is down no request can be lost, and an operator must be able to stop a service.
            self.routed = not context.traffic.state().is_down
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
        if self.journal.action in MAINTENANCE:
            return ()
        return tuple(
            one for one in self._replicas() if one.change != self.journal.change and one.id not in self.journal.keep
        )

    def retiring(self) -> tuple[Replica, ...]:
        """Return the old replicas of earlier deploys that were not waited for and are not removed yet."""
        ids = {one.id for one in self.context.store.wanted(self.service).retiring}
        return tuple(one for one in self.context.runtime.containers(self.service).replicas if one.id in ids)

    def kept_that_ended(self) -> frozenset[str]:
        """Return the ids of the replicas that stay and do not run any more."""
        return frozenset(self.journal.keep).difference(one.id for one in self._replicas() if one.running)

    def _replicas(self) -> tuple[Replica, ...]:
        found = self.context.runtime.containers(self.service).replicas
        return self.context.store.wanted(self.service).without_retiring(found)

    # Secrets and logs.

    def read_environment(self) -> dict[str, str | Secret]:
        """Return the environment of new replicas; read before anything is created, as are all other secrets."""
        values, headers = environment(self.definition.service, self.service), health_headers(self.definition.service)
        self._redact = redactor([*values.values(), *headers.values()])
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
        store_log(self.context, container, self.definition_of(container))

    # Stopping.

    def run_before_stop(self, replica: Replica) -> str:
        """Run `before_stop` of the replica's own definition inside it; return why that failed, or an empty text.

        A replica that exits meanwhile is no failure: the command may make it exit.
        """
        definition, runtime = self.definition_of(replica), self.context.runtime
        hook = definition.service.before_stop
        if hook is None:
            return ""
        result = runtime.execute(replica.id, hook.command, hook.timeout)
        with contextlib.suppress(ConductorError):
            if result.ok or (state := runtime.inspect(replica.id)) is None or not state.running:
                return ""
        try:
            text = redactor_of(runtime, replica.id, definition.service)(str(result))
        except ConductorError:
            text = HIDDEN
        return f"before_stop for {replica.name} failed: {text[:SHOWN_CHARACTERS]}"

    def definition_of(self, container: Replica | TaskContainer) -> Definition:
        """Return the definition with which a container runs."""
        return self.definition if container.change == self.journal.change else self.old_definition()

    # Starting.

    def prepare_start(self, count: int) -> list[Callable[[], None]]:
        """Reserve an address for each of `count` new replicas; return the calls that start them, in any order or at once."""
        values = self.read_environment()
        first = 1 + max((number for one in self.new() if (number := _number(one))), default=0)
        reserved = self._reserve(count)
        self.write_ahead(reserved=(*self.journal.reserved, *reserved), new=self._with_environment(count, values))
        return [self._start(number, address, values, reserved) for number, address in enumerate(reserved, first)]

    def _with_environment(self, count: int, values: dict[str, str | Secret]) -> Wanted:
        """Return the new wanted state, with the digest of the environment when every replica is started with it."""
        new, digest = self.journal.new, ""
        if not count or self.journal.keep:
            return new
        if files(self.definition.service):
            with self.context.locks.hold("addresses", wait_seconds=ADDRESSES_SECONDS):
                digest = environment_digest(values, self.context.store.make_digest_key())
        return msgspec.structs.replace(new, release=msgspec.structs.replace(new.live, environment=digest))

    def _reserve(self, count: int) -> tuple[str, ...]:
        context, network = self.context, self.context.host.network
        with context.locks.hold("addresses", wait_seconds=ADDRESSES_SECONDS):
            context.runtime.ensure_network(network)
            used = context.runtime.used_addresses(network) | context.traffic.known()
            book, reserved = addresses.reserve(
                context.store.addresses(), self.definition.service, context.host, change=self.journal.change,
                count=count, used=used,
            )  # fmt: skip
            context.store.write_addresses(book)
        return reserved

    def _start(
        self, number: int, address: str, values: dict[str, str | Secret], together: tuple[str, ...]
    ) -> Callable[[], None]:
        host = self.context.host
        spec = container_spec(
            self.definition, self.journal.release, values, instance=host.instance, network=host.network.name,
            kind="service", change=self.journal.change, name=str(number), address=address, together=together,
        )  # fmt: skip

        def start() -> None:
            start_at(self.context, self.context.runtime.create(spec), spec.name, address)

        return start

    def locate(self) -> None:
        """Record the nodes of the new replicas where these were chosen by the runtime."""
        reserved = self.journal.reserved
        if any(address.startswith(":") for address in reserved):
            self.write_ahead(reserved=addresses.located(reserved, self.new()))

    # Traffic.

    def route(self) -> Route:
        """Return the route once the change is done. A service that no longer has nginx returns 503."""
        if self.definition.service.nginx:
            maintenance = self.journal.new.maintenance
            return Route(self.definition, self.journal.endpoints, self.journal.release.template, maintenance)
        old = self.journal.old.release
        return Route(self.old_definition(), (), old.template if old else None)

    def canary_route(self, percent: float) -> Route:
        """Return the route while new replicas get a share of the requests: all else is as in the previous release.

        Old replicas that get no requests, because they are unhealthy, do not get any now.
        """
        serving, running = self.context.traffic.serving(self.service), self.journal.old_endpoints
        old, split = self.journal.old.release, Split(self.journal.new_endpoints, float(percent))
        endpoints = tuple(one for one in running if one in serving) or running
        return Route(self.old_definition(), endpoints, old.template if old else None, split=split)

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

    def end(self, outcome: Outcome, warnings: int, cause: str = "", cut: int = 0) -> None:
        """Release the addresses, write the history, remove the journal. `cause` is why the change was rolled back, `cut` how
        many requests its drain cut.

        When one of these cannot be written, the journal stays, and the next command ends the change. A recovery writes no second
        entry if the process that was killed had written one.
        """
        with self.context.locks.hold("addresses", wait_seconds=ADDRESSES_SECONDS):
            book = self.context.store.addresses()
            self.context.store.write_addresses(book.released(self.journal.change))
        if outcome not in RECOVERIES or not self._is_recorded():
            self.context.history.append(self._history_entry(outcome, warnings, cause, cut))
        self.context.store.remove_journal(self.service)

    def _is_recorded(self) -> bool:
        """True when the history has an entry of this change. If that cannot be read, a second one is better than none."""
        with contextlib.suppress(ConductorError):
            for line in latest(self.context.store.directory):
                if (line.service, line.action) == (self.service, self.journal.action):
                    entry = line.entry()
                    if entry is not None and entry.change == self.journal.change:
                        return True
        return False

    def _history_entry(self, outcome: Outcome, warnings: int, cause: str, cut: int) -> HistoryEntry:
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
            reason="; ".join(filter(None, (journal.reason, cause))),
            warnings=warnings,
            steps=journal.steps,
            cut=cut,
            waited=round(self.context.locks.take_waited(), 3),
        )


def store_log(context: Context, container: Replica | TaskContainer, definition: Definition) -> None:
    """Store the log of a container with this definition. No failure is raised."""
    with contextlib.suppress(ConductorError, OSError):
        redact = redactor_of(context.runtime, container.id, definition.service)
        found = context.runtime.read_log(container.id, tail=KEPT_LOG_LINES)
        lines = tuple(msgspec.structs.replace(line, text=redact(line.text)) for line in found)
        kind: Kind = container.kind if isinstance(container, TaskContainer) else "service"
        log = KeptLog(container=container.name, revision=container.revision, kind=kind, lines=lines)
        context.store.keep_log(container.service, log)


def start_at(context: Context, container: str, name: str, address: str) -> None:
    """Start a container and verify that it has the address that Conductor gave it."""
    context.runtime.start(container)
    state = context.runtime.inspect(container)
    if state is not None and state.running and not addresses.is_at(state.address, address):
        raise ConductorError(f"cannot use {name}: it has address {state.address} instead of {address}")


def _number(replica: Replica) -> int:
    last = replica.name.rpartition("-")[2]
    return int(last) if last.isdigit() else 0
