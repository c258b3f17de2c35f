"""nginx itself: checking a configuration, finding and signalling its master, asking its private status server.

Exit code 0 of `nginx -t` or `-s reload` does not prove that a reload worked; `reload/reloader.py` verifies it.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from conductor.definitions.model import HostNginx
from conductor.errors import ConductorError
from conductor.http import Connection, InvalidResponse
from conductor.traffic import processes
from conductor.traffic.port import TrafficRefused, TrafficUnavailable

CHECK_SECONDS = 30
STATUS_SECONDS = 2
# In a private mount namespace each candidate directory is mounted over the real one; then the shell executes nginx.
_OVERLAY = 'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 90; shift 2; done; shift; exec "$@"'
_NO_UPSTREAM = "conductor nginx install   (writes an upstream for every defined service)"


class Nginx:
    """One nginx, by its configuration file. Conductor's own servers listen on `status_socket` and `others`."""

    def __init__(self, host: HostNginx, status_socket: Path, *others: Path) -> None:
        self._host = host
        self._status_socket = status_socket
        self._sockets = (status_socket, *others)

    def check(self, overlays: Mapping[Path, Path]) -> str:
        """Return the whole configuration as nginx reads it, with each directory in `overlays` replaced by its candidate.

        Raises `TrafficRefused` with nginx's own error, which names file and line. Nothing is changed.
        """
        if not Path(self._host.binary).exists():
            raise ConductorError(
                f"cannot find nginx: {self._host.binary} does not exist",
                "apt-get install nginx-light   (or set host.nginx.binary)",
            )
        pairs = [str(path) for real, candidate in overlays.items() for path in (candidate, real)]
        nginx = [self._host.binary, "-T", "-q", "-c", self._host.config]
        try:
            done = subprocess.run(
                ["unshare", "--mount", "--", "sh", "-c", _OVERLAY, "sh", *pairs, "--", *nginx],
                capture_output=True, timeout=CHECK_SECONDS, check=False, text=True, errors="surrogateescape",
                start_new_session=True,  # Ctrl-C on the terminal must not stop nginx -T
            )  # fmt: skip
        except FileNotFoundError as error:
            raise ConductorError(f"cannot check nginx's configuration: {error.filename} is not installed") from error
        except subprocess.TimeoutExpired as error:
            raise ConductorError(
                f"cannot check nginx's configuration: nginx -T did not end within {CHECK_SECONDS} s"
            ) from error
        if done.stderr.startswith(("unshare:", "mount:")):
            raise ConductorError(
                f"cannot check nginx's configuration in a mount namespace: {done.stderr.strip()}", "run as root"
            )
        if done.returncode != 0:
            words = [line for line in done.stderr.splitlines() if "test failed" not in line]
            cause = _first_error(words)
            hint = _NO_UPSTREAM if "host not found in upstream" in cause else "fix the file that nginx names"
            raise TrafficRefused(f"nginx refuses its configuration: {cause}", hint, tuple(words[:10]))
        return done.stdout

    def master(self, dump: str) -> int:
        """Return the pid of the running master, by the pid file that the configuration `dump` names.

        Raises `TrafficUnavailable` when nginx does not run.
        """
        path = self._pid_file(dump)
        text = ""
        with contextlib.suppress(OSError):
            text = path.read_text().strip()
            if not text:
                path.unlink()  # `nginx -t` leaves an empty one when nginx does not run, which breaks later reloads
        if not text.isdigit() or not processes.is_master(int(text)):
            if self.generation() is not None:
                raise ConductorError(
                    f"cannot reload nginx: it is running, but its pid file {path} does not name its master",
                    "systemctl restart nginx",
                )
            self._remove_dead_sockets()
            raise TrafficUnavailable(
                f"nginx is not running: {path} does not name an nginx master", "systemctl start nginx"
            )
        old = Path(f"{path}.oldbin")
        second = old.read_text().strip() if old.is_file() else ""
        if second.isdigit() and processes.is_master(int(second)):
            raise ConductorError(
                f"cannot reload nginx: its binary is being upgraded, {old} names a second master",
                f"kill -QUIT {second}   (finishes the upgrade)",
            )
        return int(text)

    def _remove_dead_sockets(self) -> None:
        """Remove socket files that a killed master left: nginx cannot start while they exist."""
        for path in self._sockets:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
                try:
                    asking.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()

    def _pid_file(self, dump: str) -> Path:
        named = re.search(r"^\s*pid\s+\"?([^;\"]+)\"?\s*;", dump, re.MULTILINE)
        return self._built_in("pid-path", named[1] if named else None)

    def error_log(self, dump: str) -> Path:
        """Return the file of the first `error_log`, or the built-in one."""
        named = re.search(r"^\s*error_log\s+\"?(/[^;\"\s]+)", dump, re.MULTILINE)
        return self._built_in("error-log-path", named[1] if named else None)

    def _built_in(self, option: str, named: str | None) -> Path:
        if named is not None and named.startswith("/"):
            return Path(named)
        built = subprocess.run([self._host.binary, "-V"], capture_output=True, text=True, timeout=5, check=False).stderr
        options = dict(re.findall(r"--([a-z-]+)=(\S+)", built))
        return Path(options.get("prefix", "/usr/share/nginx"), named or options.get(option, ""))

    @staticmethod
    def reload_units() -> None:
        """Make systemd read the drop-in of nginx's unit, if the host runs systemd."""
        if Path("/run/systemd/system").is_dir():
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # the next boot reads it
                subprocess.run(["systemctl", "daemon-reload"], capture_output=True, timeout=CHECK_SECONDS, check=False)

    @staticmethod
    def reload(master: int) -> None:
        """Signal the master to reload its configuration. The signal has no response."""
        try:
            os.kill(master, signal.SIGHUP)
        except OSError as error:
            raise ConductorError(f"cannot signal nginx's master {master}: {error.strerror}") from error

    def generation(self) -> str | None:
        """Return the generation of a worker that accepts connections now; None when none answers."""
        return (self._ask("/generation") or "").partition(" ")[0] or None

    def answering(self) -> tuple[str, int] | None:
        """Return the generation and the pid of a worker that accepts connections now."""
        generation, _, pid = (self._ask("/generation") or "").partition(" ")
        return (generation, int(pid)) if pid.isdigit() else None

    def announced(self) -> bool | None:
        """True when a worker sees the announce flag; None when none answers."""
        answer = self._ask("/announced")
        return None if answer is None else answer == "1"

    def clients(self) -> tuple[int, int] | None:
        """Return active requests, this one included, and idle connections of all services; None when no worker answers."""
        found = re.search(r"Writing: (\d+) Waiting: (\d+)", self._ask("/clients") or "")
        return (int(found[1]), int(found[2])) if found else None

    def _ask(self, path: str) -> str | None:
        try:
            with Connection(str(self._status_socket), STATUS_SECONDS) as connection:
                status = connection.request("GET", path, {"Host": "localhost", "Connection": "close"})
                return connection.body().decode() if status == 200 else None
        except (OSError, InvalidResponse):
            return None


def _first_error(words: list[str]) -> str:
    for line in words:
        if "[emerg]" in line or "[crit]" in line:
            return re.sub(r"^\d+#\d+: ", "", line.partition("] ")[2]).strip()
    return words[0].strip() if words else "no reason given"
