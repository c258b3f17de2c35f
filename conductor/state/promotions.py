"""Requests of operators to end a canary early: one small file per service, which the waiting upgrade takes."""

from pathlib import Path

from conductor.errors import ConductorError
from conductor.state import files


class Promotions:
    """The directory of these files, in memory."""

    def __init__(self, runtime_dir: str) -> None:
        self._directory = Path(runtime_dir) / "promotions"

    def request(self, service: str, change: str) -> None:
        """Ask the upgrade `change` to give the new replicas all requests."""
        files.make_directory(self._directory)
        files.write_bytes(self._directory / service, change.encode())

    def take(self, service: str, change: str) -> bool:
        """Return whether this was requested for `change`, once. A request for an earlier change is removed."""
        path = self._directory / service
        try:
            found = path.read_bytes()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ConductorError(f"cannot read {path}: {error.strerror}", f"rm -r {path}") from error
        files.remove(path)
        return found == change.encode()
