"""`host.json`: the parts of the last valid definitions file that `supervise` needs to start when that file is broken."""

from pathlib import Path
from typing import Any

import msgspec

from conductor.definitions.explain import convert
from conductor.definitions.host import Host
from conductor.definitions.load import Definitions
from conductor.errors import ConductorError
from conductor.state import files
from conductor.state.store import Store


class LastDefinitions(msgspec.Struct, frozen=True, kw_only=True):
    """The host section, and the ids of the services, of the last valid definitions file.

    `deployed` are the services that had a wanted state then; None in a file of an older version. Others were deployed later.
    """

    host: Host
    services: tuple[str, ...]
    deployed: tuple[str, ...] | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True):
    host: dict[str, Any]
    services: tuple[str, ...]
    deployed: tuple[str, ...] | None = None
    version: int = 1


def write_last_definitions(last: LastDefinitions) -> None:
    """Replace the file in the host's state directory."""
    host = msgspec.to_builtins(last.host, enc_hook=_plain)
    path = _path(Path(last.host.state_dir))
    files.make_directory(path.parent)
    files.write(path, _File(host=host, services=last.services, deployed=last.deployed))


def read_last_definitions(state_dir: Path) -> LastDefinitions | None:
    """Return the contents of the file, or None when it does not exist. Raise an error that names a damaged file."""
    path = _path(state_dir)
    repair = f"run rm {path}: supervise recreates it when it next reads a valid definitions file"
    found = files.read(path, _File, repair=repair)
    if found is None:
        return None
    try:
        return LastDefinitions(host=convert(found.host, Host), services=found.services, deployed=found.deployed)
    except msgspec.ValidationError as error:
        raise ConductorError(f"cannot read {path}: it is damaged ({error})", repair) from error


def restored_definitions(path: Path, state_dir: Path) -> Definitions | None:
    """Return what is known when the file at `path` cannot be used: the last valid host section, and the service ids.

    The ids include services that were deployed after `supervise` last read the file: those were defined. The definitions
    themselves are unknown. None if there was no valid file.
    """
    last = read_last_definitions(state_dir)
    if last is None:
        return None
    later = [
        one
        for one in Store(Path(last.host.state_dir)).services()
        if last.deployed is not None and one not in last.deployed
    ]
    return Definitions(path, last.host, tuple(dict.fromkeys((*last.services, *later))), {}, (), {})


def _path(state_dir: Path) -> Path:
    return state_dir / "host.json"


def _plain(value: object) -> object:
    """Return a duration in seconds. msgspec asks for this error for any other type that it does not know."""
    if isinstance(value, float):
        return float(value)
    raise NotImplementedError
