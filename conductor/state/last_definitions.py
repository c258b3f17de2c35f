"""`host.json`: the parts of the last valid definitions file that `supervise` needs to start when that file is broken."""

from pathlib import Path
from typing import Any

import msgspec

from conductor.definitions.explain import convert
from conductor.definitions.model import Host
from conductor.errors import ConductorError
from conductor.state import files


class LastDefinitions(msgspec.Struct, frozen=True, kw_only=True):
    """The host section, and the ids of the services, of the last valid definitions file."""

    host: Host
    services: tuple[str, ...]


class _File(msgspec.Struct, frozen=True, kw_only=True):
    host: dict[str, Any]
    services: tuple[str, ...]
    version: int = 1


def write_last_definitions(last: LastDefinitions) -> None:
    """Replace the file in the host's state directory."""
    host = msgspec.to_builtins(last.host, enc_hook=_plain)
    path = _path(Path(last.host.state_dir))
    files.make_directory(path.parent)
    files.write(path, _File(host=host, services=last.services))


def read_last_definitions(state_dir: Path) -> LastDefinitions | None:
    """Return the contents of the file, or None when it does not exist. Raise an error that names a damaged file."""
    path = _path(state_dir)
    found = files.read(path, _File)
    if found is None:
        return None
    try:
        return LastDefinitions(host=convert(found.host, Host), services=found.services)
    except msgspec.ValidationError as error:
        raise ConductorError(f"cannot read {path}: {error}") from error


def _path(state_dir: Path) -> Path:
    return state_dir / "host.json"


def _plain(value: object) -> object:
    """Return a duration in seconds."""
    if isinstance(value, float):
        return float(value)
    raise NotImplementedError
