"""Atomic files: written beside the target, fsynced and renamed. A file of a newer version or a damaged file is refused."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from conductor import json_text
from conductor.errors import ConductorError

T = TypeVar("T")
FORMAT = 1


def make_directory(path: Path, mode: int = 0o700) -> Path:
    """Create a directory with `mode` if absent; missing parents get 0755, because nginx's workers must be able to enter them."""
    try:
        if not path.is_dir():
            if not path.parent.is_dir():
                make_directory(path.parent, 0o755)
            path.mkdir(exist_ok=True)
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                os.fchmod(handle, mode)
            finally:
                os.close(handle)
    except OSError as error:
        raise ConductorError(f"cannot create {path}: {error.strerror}") from error
    return path


def write_bytes(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` atomically: after a crash at any point it holds the old bytes or the new ones.

    The temporary name starts with a dot and ends in `.new`: no include glob matches it, and the next write replaces it.
    """
    temporary = _temporary(path)
    try:
        handle = _new_file(temporary, mode)
        try:
            os.fchmod(handle, mode)
            with os.fdopen(handle, "wb", closefd=False) as stream:
                stream.write(data)
            os.fsync(handle)
        finally:
            os.close(handle)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()  # a full disk needs every byte
        raise ConductorError(f"cannot write {path}: {error.strerror}") from error


def _new_file(path: Path, mode: int) -> int:
    """Open a file that this call creates. What a killed writer left is removed first, and so is a link or a pipe."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        path.unlink()
        return os.open(path, flags, mode)


def open_own(path: Path, flags: int) -> int:
    """Open a file, of mode 0600 if it is new; raise `OSError` for a link, a pipe or a device."""
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, "it is not a regular file")


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def remove_temporary(path: Path) -> None:
    """Remove the temporary file that a killed writer of `path` left. Only the process that may write `path` calls this."""
    with contextlib.suppress(OSError):
        _temporary(path).unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove `path` durably. A missing file is no error."""
    remove_temporary(path)
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise ConductorError(f"cannot remove {path}: {error.strerror}") from error


def sync_directory(path: Path) -> None:
    """Make a rename in `path` survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def free_percent(path: Path) -> float | None:
    """Return how much of a file system is free for everybody, or None when `path` does not exist."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return 100 * found.f_bavail / found.f_blocks if found.f_blocks else None


def names(directory: Path, suffix: str) -> tuple[str, ...]:
    """Return the names of the files in a directory that end with `suffix`, without it; none when it does not exist.

    Raise when the directory cannot be listed. `Path.glob` then finds nothing, and what is stored would count as absent.
    """
    try:
        found = os.listdir(directory)  # noqa: PTH208 (no path for each name)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConductorError(f"cannot read {directory}: {error.strerror}") from error
    return tuple(sorted(name.removesuffix(suffix) for name in found if name.endswith(suffix) and name[0] != "."))


def write(path: Path, value: object) -> None:
    """Replace `path` by `value` as JSON, mode 0600. Its directory exists."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def write_in(directory: Path, path: Path, value: object) -> None:
    """As `write`, for a file in `directory` or in a directory in it; make those that are absent."""
    make_directory(directory)
    make_directory(path.parent)
    write(path, value)


def with_unknown(value: msgspec.Struct, stored: object) -> dict[str, Any]:
    """Return the stored form of `value`, with the keys of `stored` that its type does not have: a newer version wrote them."""
    known = value.__struct_encode_fields__
    unknown = {key: one for key, one in stored.items() if key not in known} if isinstance(stored, dict) else {}
    return {**msgspec.to_builtins(value), **unknown}


def read(path: Path, shape: type[T], *, repair: str = "restore the file from a backup") -> T | None:
    """Return the value in `path`, or None when there is no such file.

    Raise for a newer or damaged file. `repair` is the hint for a damaged one: what to run, and what is then lost.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConductorError(f"cannot read {path}: {error.strerror}") from error
    return decode(data, shape, str(path), repair)


def read_own(path: Path, shape: type[T], service: str, *, repair: str) -> T | None:
    """Return the value in `path` as `read` does. Raise also when it is that of another service: a file that was copied or renamed
    would let an action on one service change another one."""
    found = read(path, shape, repair=repair)
    owner = getattr(found, "service", service)
    if owner != service:
        raise ConductorError(f"cannot read {path}: it is damaged (it belongs to service {owner!r})", repair)
    return found


def decode(data: bytes, shape: type[T], where: str, repair: str) -> T:
    """Return the value in `data`, which was read from `where`. Raise as `read` does."""
    try:
        version = json_text.decode(data, dict[str, msgspec.Raw]).get("version")
        if version is not None and int(bytes(version)) > FORMAT:
            raise ConductorError(
                f"cannot read {where}: its format is {int(bytes(version))}; this version of Conductor reads formats up to {FORMAT}",
                "upgrade Conductor",
            )
        return json_text.decode(data, shape)
    except ValueError as error:  # also one of msgspec's
        raise ConductorError(f"cannot read {where}: it is damaged ({error})", repair) from error
