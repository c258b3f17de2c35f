"""systemd's end of `sd_notify`: a socket that hears what a service tells, and when."""

import contextlib
import socket
import threading
import time
from itertools import pairwise
from pathlib import Path


class Manager:
    """`with Manager(path, watchdog_seconds=4) as manager`: give the service `manager.environment`."""

    def __init__(self, path: Path, *, watchdog_seconds: float) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(round(watchdog_seconds * 1e6))}
        self.heard: list[tuple[float, str]] = []  # when (monotonic), what
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.2)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def longest_silence(self) -> float:
        """Seconds that its watchdog had to wait for the next sign of life, until now."""
        fed = [moment for moment, said in list(self.heard) if "WATCHDOG=1" in said]
        return max(b - a for a, b in pairwise([*fed, time.monotonic()]))

    def _listen(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                said = self._socket.recv(4096).decode()
                self.heard.append((time.monotonic(), said))

    def __enter__(self) -> "Manager":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()
