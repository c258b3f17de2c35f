"""The nginx lock: one process at a time changes nginx's files and reloads it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from conductor.state import files
from conductor.state.locks import NGINX_SECONDS, Locks
from conductor.traffic.reload.include_dir import IncludeDir


class NginxLock:
    """The lock of one nginx, and what a killed holder leaves. `flag` is the announce flag."""

    def __init__(self, locks: Locks, directory: IncludeDir, flag: Path) -> None:
        self._locks = locks
        self._directory = directory
        self._flag = flag

    @contextlib.contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the lock. Yield True if a killed process left its flag: then nginx may still be doing its reload.

        That flag stays until the end of the block, or until a reload in the block is proven. Removed at once, it would no longer
        announce that reload.
        """
        with self._locks.hold("nginx", NGINX_SECONDS):
            self._directory.make_directories()
            self._directory.sweep()
            announced = self._flag.exists()
            if not announced:
                files.remove_temporary(self._flag)
            try:
                yield announced
            finally:
                if announced:
                    files.remove(self._flag)
