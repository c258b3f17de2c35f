"""Finds the files of nginx's configuration that changed after its workers started: nginx has not loaded them."""

from pathlib import Path, PurePosixPath

from conductor.traffic import grammar

START_SECONDS = 0.05  # start times of processes are in hundredths of a second


def edited(dump: str, loaded_at: float) -> tuple[str, ...]:
    """Return the files in `dump` that changed after `loaded_at`, in seconds since 1970.

    A directory counts as well if it is included by a pattern: a file may have been removed from it.
    """
    files = grammar.files(dump)
    prefix = PurePosixPath(files[0][0]).parent
    patterns = [one.arguments[0] for one in grammar.everywhere(dump) if one.name == "include" and one.arguments]
    directories = {str(PurePosixPath(prefix, pattern).parent) for pattern in patterns if "*" in pattern}
    paths = dict.fromkeys([*(path for path, _ in files), *sorted(directories)])
    return tuple(path for path in paths if _changed_at(Path(path)) > loaded_at + START_SECONDS)


def _changed_at(path: Path) -> float:
    """Return when a file or a link to it was last written, renamed or made; 0 when it does not exist."""
    try:
        return max(path.lstat().st_ctime, path.stat().st_ctime)
    except OSError:
        return 0.0
