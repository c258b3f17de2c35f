"""The definitions file while `supervise` runs: read again when it changes; what was valid before stays in effect."""

import contextlib
from pathlib import Path

import msgspec

from conductor.definitions.load import Definitions, load
from conductor.errors import ConductorError
from conductor.state.last_definitions import LastDefinitions, restored_definitions, write_last_definitions
from conductor.state.store import Store

STILL_IN_EFFECT = "the last valid definitions stay in effect"
HOST_CHANGED = "the host section changed; to apply it, run systemctl restart conductor-supervise"


class DefinitionsFile:
    """The last valid definition of each service. `problem` is what is wrong with the file now, for people.

    When nothing of the file can be used at the start, the host section and the ids of the services are those of the last
    valid file, from `state_dir`, with the services that were deployed later. No definition is known then: services run as they
    were committed.
    """

    def __init__(self, path: Path, state_dir: Path) -> None:
        self._path = path
        self._stamp = self._read_stamp()
        self._shorter: object = None  # the stamp of a file that lacks services
        try:
            self.definitions = load(path)
            self.problem = _broken(self.definitions)
        except ConductorError as error:
            restored = restored_definitions(path, state_dir)
            if restored is None:
                raise
            self.definitions = restored
            self.problem = _unusable(error)
            self._is_read = False
        else:
            self._is_read = True

    def keep(self) -> None:
        """Store what a start with a broken file needs, if the file could be used. Only the `supervise` that holds the lock calls
        this: another one may have been started with another file."""
        if self._is_read:
            _keep(self.definitions)

    def reload(self, *, force: bool) -> bool:
        """Read the file if it changed, or with `force`. Return True when it was read.

        Services are removed only once the file is the same at two calls: a copy that is not complete yet may be valid.
        """
        stamp = self._read_stamp()
        if stamp == self._stamp and not force:
            return False
        before = self.definitions
        try:
            found = load(self._path)
        except ConductorError as error:
            self._stamp, self.problem = stamp, _unusable(error)
            return True
        if not force and stamp != self._shorter and set(before.ids).difference(found.ids):
            self._shorter = stamp
            return False
        self._stamp = stamp
        _keep(found)
        kept = {service: before.services[service] for service in found.broken if service in before.services}
        self.problem = _broken(found) or HOST_CHANGED * (found.host != before.host)
        self.definitions = msgspec.structs.replace(found, host=before.host, services={**kept, **found.services})
        return True

    def _read_stamp(self) -> object:
        """Return a value that changes when the file is written."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


def _keep(definitions: Definitions) -> None:
    """Store what a start with a broken file needs."""
    with contextlib.suppress(ConductorError):  # a full disk; only a start with a broken file needs it
        deployed = Store(Path(definitions.host.state_dir)).services()
        write_last_definitions(LastDefinitions(host=definitions.host, services=definitions.ids, deployed=deployed))


def _unusable(error: ConductorError) -> str:
    detail = f" ({error.details[0]})" if error.details else ""
    return f"{error.sentence}{detail}; {STILL_IN_EFFECT}"


def _broken(definitions: Definitions) -> str:
    first = next((str(problems[0]) for problems in definitions.broken.values()), "")
    return f"{first}; {STILL_IN_EFFECT}" if first else ""
