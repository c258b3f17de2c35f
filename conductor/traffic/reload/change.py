"""A change of nginx's files: what it changes, and what undoes it."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from conductor.errors import ConductorError
from conductor.plan.route import Cutover
from conductor.traffic.peers import LUA_FILE
from conductor.traffic.processes import Worker
from conductor.traffic.references import OWN_FILE
from conductor.traffic.reload.record import Version, digest
from conductor.traffic.render import INCLUDES, file_name


class ServiceFile(msgspec.Struct, frozen=True):
    """A service's file: its text (None: no file) and the endpoints it sends requests to."""

    text: str | None
    endpoints: tuple[str, ...]

    @property
    def version(self) -> Version:
        """The version that the record stores."""
        return Version(digest(self.text), self.endpoints)


class ReloadState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a cutover. `workers` are those that may still send requests to what was in force before.

    `former` has each changed service's file from before, `ports` are nginx's listening ports, and `inspectable` says that
    the sockets of these workers prove a drain. `reloads`: nginx had to be reloaded.
    """

    workers: tuple[Worker, ...] = ()
    former: dict[str, ServiceFile] = {}
    ports: tuple[int, ...] = ()
    inspectable: bool = False
    reloads: bool = True


class Change(NamedTuple):
    """Files of the include directory as they are, and as they will be. `changes` are the changed services with their files,
    `now` the present files of these, and `former` what an undo restores."""

    present: Mapping[str, str]
    candidate: Mapping[str, str]
    changes: Mapping[str, ServiceFile]
    now: Mapping[str, ServiceFile]
    former: Mapping[str, ServiceFile]

    @property
    def texts(self) -> tuple[str, ...]:
        """The present texts of the changed services."""
        return tuple(file.text for file in self.now.values() if file.text)

    @property
    def versions(self) -> dict[str, Version]:
        """The version of each changed service for the record."""
        return {service: file.version for service, file in self.changes.items()}


def own_files(changes: Mapping[str, ServiceFile]) -> tuple[str, ...]:
    """Return the names of the files that a change of these services writes."""
    return (*map(file_name, changes), *INCLUDES, LUA_FILE, OWN_FILE)


def state_of(cutover: Cutover) -> ReloadState:
    """Return the state of a cutover of nginx, by a reload or without one."""
    if cutover.implementation not in {"reload", "live"}:
        raise ConductorError(
            f"cannot continue the cutover: it was begun with {cutover.implementation}, before host.fleet was removed"
        )
    return msgspec.convert(cutover.state, ReloadState)


def cutover_of(implementation: str, state: ReloadState) -> Cutover:
    """Return the state as a cutover."""
    return Cutover(implementation=implementation, state=msgspec.to_builtins(state))
