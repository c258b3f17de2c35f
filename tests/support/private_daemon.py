"""A Docker daemon of a test's own: with as little room as it likes, and to be stopped, begun again, or frozen.

It has a bridge of its own: with `--bridge=none` it would take away docker0, which belongs to the machine's daemon. And it
leaves the machine's firewall alone: its containers are reached from the host only.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.support.claims import Claims

START_SECONDS = 30.0
STOP_SECONDS = 30.0


class PrivateDaemon:
    """`with PrivateDaemon(directory, mebibytes) as daemon`: `daemon.url` is where it listens, its data lie in memory."""

    def __init__(self, directory: Path, mebibytes: int) -> None:
        self._directory = directory
        self._size = mebibytes
        self.data = directory / "data"
        self.url = f"unix://{directory}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._bridge = f"own{os.getpid()}"
        self._claims = Claims()

    def __enter__(self) -> "PrivateDaemon":
        self.data.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self._size}m", "none", str(self.data)], check=True)
        try:
            address = self._claims.subnet().replace(".0/", ".1/")
            for made in (
                ["link", "add", self._bridge, "type", "bridge"],
                ["addr", "add", address, "dev", self._bridge],
            ):
                subprocess.run(["ip", *made], check=True)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def load(self, *images: str) -> None:
        """Images of the machine's daemon, as they are there."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saving:
            subprocess.run(["docker", "-H", self.url, "load", "--quiet"], stdin=saving.stdout, check=True)
        if saving.returncode:
            raise RuntimeError(f"cannot save {', '.join(images)}: exit code {saving.returncode}")

    def start(self) -> None:
        """Begin it, and wait until it answers."""
        words = ["dockerd", "--data-root", str(self.data), "--exec-root", str(self._directory / "exec")]
        words += ["--pidfile", str(self._directory / "pid"), "-H", self.url]
        words += [f"--bridge={self._bridge}", "--iptables=false", "--ip6tables=false"]
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "PATH": path})
        until = time.monotonic() + START_SECONDS
        while subprocess.run(["docker", "-H", self.url, "version"], capture_output=True, check=False).returncode:
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(f"dockerd did not start:\n{(self._directory / 'log').read_text()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """As systemd would; it stops its containers first."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        process.kill()
        process.wait()

    def freeze(self) -> None:
        """It hangs: it takes connections and answers nothing. Its containers run on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it was."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __exit__(self, *_: object) -> None:
        self.stop()
        subprocess.run(["ip", "link", "delete", self._bridge], check=False, capture_output=True)
        self._claims.release()
        subprocess.run(["umount", "--lazy", str(self.data)], check=False, capture_output=True)
