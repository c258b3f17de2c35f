"""A Docker daemon of its own with little room for images: for pulls that do not fit.

It has a bridge of its own: with `--bridge=none` it would take away docker0, which belongs to the machine's daemon.
"""

import contextlib
import os
import subprocess
import time
from pathlib import Path

from tests.support.claims import Claims

START_SECONDS = 20.0


class SmallDaemon:
    """`with SmallDaemon(directory, mebibytes) as daemon`: `daemon.url` is where it listens."""

    def __init__(self, directory: Path, mebibytes: int) -> None:
        self._directory = directory
        self._size = mebibytes
        self.data = directory / "data"
        self.url = f"unix://{directory}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._bridge = f"small{os.getpid()}"
        self._claims = Claims()

    def __enter__(self) -> "SmallDaemon":
        self.data.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self._size}m", "none", str(self.data)], check=True)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        words = ["dockerd", "--data-root", str(self.data), "--exec-root", str(self._directory / "exec")]
        words += ["--pidfile", str(self._directory / "pid"), "-H", self.url]
        words += [f"--bridge={self._bridge}", "--iptables=false", "--ip6tables=false"]
        address = self._claims.subnet().replace(".0/", ".1/")
        for made in (["link", "add", self._bridge, "type", "bridge"], ["addr", "add", address, "dev", self._bridge]):
            subprocess.run(["ip", *made], check=True)
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "PATH": path})
        until = time.monotonic() + START_SECONDS
        while subprocess.run(["docker", "-H", self.url, "version"], capture_output=True, check=False).returncode:
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(f"dockerd did not start:\n{(self._directory / 'log').read_text()}")
            time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
            self._process.kill()
            self._process.wait()
        subprocess.run(["ip", "link", "delete", self._bridge], check=False, capture_output=True)
        self._claims.release()
        subprocess.run(["umount", "--lazy", str(self.data)], check=False, capture_output=True)
