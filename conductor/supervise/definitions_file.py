"""The definitions file while `supervise` runs: read again when it changes; what was valid before stays in effect."""

from pathlib import Path

import msgspec

from conductor.definitions.load import Definitions, load
from conductor.errors import ConductorError

STILL_IN_EFFECT = "the last valid definitions stay in effect"
HOST_CHANGED = "the host section changed; to apply it, run systemctl restart conductor-supervise"


class DefinitionsFile:
    """The last valid definition of each service. `problem` is what is wrong with the file now, for people."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._read_stamp()
        self.definitions = load(path)
        self.problem = _broken(self.definitions)

    def reload(self, *, force: bool) -> bool:
        """Read the file if it changed, or with `force`. Return True when it was read."""
        stamp = self._read_stamp()
        if stamp == self._stamp and not force:
            return False
        self._stamp = stamp
        before = self.definitions
        try:
            found = load(self._path)
        except ConductorError as error:
            detail = f" ({error.details[0]})" if error.details else ""
            self.problem = f"{error.sentence}{detail}; {STILL_IN_EFFECT}"
            return True
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


def _broken(definitions: Definitions) -> str:
    first = next((str(problems[0]) for problems in definitions.broken.values()), "")
    return f"{first}; {STILL_IN_EFFECT}" if first else ""
