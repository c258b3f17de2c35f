"""Finds the logs of a service: of the replicas that exist, and those kept of removed replicas."""

import contextlib
import heapq
from collections.abc import Callable, Iterator
from typing import NamedTuple

from conductor.change.container_secrets import redactor_of
from conductor.change.context import Context
from conductor.definitions.environment import HIDDEN
from conductor.definitions.load import Definitions, restore
from conductor.definitions.model import Service
from conductor.errors import ConductorError, UsageError
from conductor.logs.replica_log import Entry, ReplicaLog
from conductor.plan.release import Release
from conductor.plan.replica import Replica
from conductor.runtime.port import RuntimeUnavailable

CUT = 12  # characters of a revision in a container's name
Warn = Callable[[str], None]


class Selection(NamedTuple):
    """Which lines are shown: from the time stamp `since` on, at most the last `tail` of each replica, of the revision that is
    or begins with `revision`."""

    since: str = ""
    tail: int | None = None
    revision: str = ""


class ServiceLogs:
    """The logs of one service. Each log is found once; its position stays known until the end."""

    def __init__(self, context: Context, definitions: Definitions, service: str, selection: Selection) -> None:
        self.service = service
        self.clock = context.clock
        self._runtime = context.runtime
        self._store = context.store
        self._definitions = definitions
        self._selection = selection
        self._revision = selection.revision
        self._exact = False
        self._known: dict[str, ReplicaLog] = {}  # by the name of the replica
        self._others: set[str] = set()  # kept logs of other revisions, and of hooks

    def resolve(self, *, follow: bool) -> str:
        """Find the revision that the selection begins with.

        Raise a `ConductorError` if the service or the revision is unknown. With `follow`, both may be deployed later: then
        return a sentence about what is missing, else an empty text.
        """
        revisions, service, wanted = self._revisions(), self.service, self._revision
        if not revisions:
            self._definitions.require_known(service)
            if not follow:
                raise ConductorError(
                    f"cannot show the logs of {service}: it has never been deployed on this host",
                    f"conductor service upgrade --id {service} --revision REV",
                )
        found = [wanted] if wanted in revisions else sorted(one for one in revisions if one.startswith(wanted))
        if not wanted:
            return "" if revisions else f"{service} has never been deployed on this host; waiting for its first deploy"
        if len(found) > 1:
            raise UsageError(f"cannot use --release {wanted}: it matches {', '.join(found)}", "use the full revision")
        known = f"there is no such revision; known revisions: {', '.join(sorted(revisions)) or 'none'}"
        if not found and not follow:
            hint = f"show one of them with --release, or all of them: conductor service logs --id {service}"
            raise ConductorError(f"cannot show the logs of {service} at {wanted}: {known}", hint)
        self._exact = bool(found)
        self._revision = found[0] if found else wanted
        return "" if found else f"no log lines for {service} at {wanted} yet: {known}"

    def history(self, warn: Warn) -> Iterator[Entry]:
        """Yield the lines that exist now, sorted by time."""
        logs = [*(log for _, log in self.listed()), *self.newly_kept(warn)]
        yield from heapq.merge(*(self._history(log, warn) for log in logs), key=lambda entry: entry.order)

    def _history(self, log: ReplicaLog, warn: Warn) -> Iterator[Entry]:
        try:
            yield from log.history(self._selection.tail)
        except RuntimeUnavailable:
            raise
        except ConductorError as error:
            warn(error.sentence)
        yield from self.rest(log, warn, self._selection.tail)

    def rest(self, log: ReplicaLog, warn: Warn, tail: int | None = None) -> Iterator[Entry]:
        """Yield the lines of a removed replica that were not read before its removal."""
        try:
            kept = self._store.kept_log(self.service, log.name)
        except ConductorError as error:
            warn(error.sentence)
        else:
            yield from log.rest(kept, tail)

    def existing(self) -> dict[str, ReplicaLog]:
        """Return the logs of all replicas that existed when they were listed, by the name of the replica."""
        return {name: log for name, log in self._known.items() if log.container}

    def listed(self) -> list[tuple[Replica, ReplicaLog]]:
        """Return the replicas that exist now, each with its log."""
        found = [one for one in self._runtime.containers(self.service).replicas if self._shows(one.revision)]
        return [(replica, self._of(replica)) for replica in found]

    def newly_kept(self, warn: Warn) -> list[ReplicaLog]:
        """Return the kept logs of replicas that were not known until now. A file that cannot be read is reported once."""
        found = []
        for name in self._store.kept_logs(self.service):
            if name in self._known or name in self._others:
                continue
            try:
                kept = self._store.kept_log(self.service, name, with_lines=False)
            except ConductorError as error:
                warn(error.sentence)
                kept = None
            if kept is None or kept.kind != "service" or not self._shows(kept.revision):
                self._others.add(name)
            else:
                found.append(self._new(name, kept.revision))
        return found

    def _of(self, replica: Replica) -> ReplicaLog:
        log = self._known.get(replica.name) or self._new(replica.name, replica.revision)
        if not log.container:
            log.redact = self._redactor(replica)
            log.container = replica.id
        return log

    def _new(self, name: str, revision: str) -> ReplicaLog:
        log = self._known[name] = ReplicaLog(self._runtime, self.clock, name, revision, self._selection.since)
        return log

    def _redactor(self, replica: Replica) -> Callable[[str], str]:
        """Return a function that removes the replica's secrets from a text, or hides all of it if they cannot be read."""
        service = self._definition(replica)
        try:
            if service is not None:
                return redactor_of(self._runtime, replica.id, service)
        except RuntimeUnavailable:
            raise
        except ConductorError:
            pass
        return lambda text: text and HIDDEN

    def _definition(self, replica: Replica) -> Service | None:
        """Return the definition with which a replica runs; if it is not stored, that of the definitions file."""
        with contextlib.suppress(ConductorError):
            found = [one.definition for one in self._releases() if one.id == replica.release]
            found += [one.definition for one in self._store.wanted(self.service).retiring if one.id == replica.id]
            if found:
                return restore(self.service, found[0]).service
        defined = self._definitions.services.get(self.service)
        return defined.service if defined else None

    def _releases(self) -> list[Release]:
        """Return the releases of the change in progress, and all that are stored."""
        found: list[Release | None] = []
        with contextlib.suppress(ConductorError):
            if journal := self._store.journal(self.service):
                found += [journal.release, journal.old.release]
        with contextlib.suppress(ConductorError):
            wanted = self._store.wanted(self.service)
            found += [wanted.release, *wanted.kept]
        return [one for one in found if one is not None]

    def _revisions(self) -> set[str]:
        """Return the revisions of all replicas, kept logs and releases."""
        kept = []
        for name in self._store.kept_logs(self.service):
            with contextlib.suppress(ConductorError):  # reported when its lines are read
                kept.append(self._store.kept_log(self.service, name, with_lines=False))
        replicas = self._runtime.containers(self.service).replicas
        found = {*(one.revision for one in replicas), *(one.revision for one in self._releases())}
        cut = {one.revision for one in kept if one is not None and one.kind == "service"}
        return found | {one for one in cut if not any(known.startswith(one) for known in found)}

    def _shows(self, revision: str) -> bool:
        """Return whether lines of this revision are shown. That of a log of an older version may be cut."""
        if self._exact:
            return revision == self._revision or (len(revision) == CUT and self._revision.startswith(revision))
        return revision.startswith(self._revision)
