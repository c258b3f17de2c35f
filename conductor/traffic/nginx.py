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
from typing import NamedTuple

from conductor.definitions.model import HostNginx
from conductor.errors import ConductorError
from conductor.http import Connection, InvalidResponse
from conductor.traffic import grammar, processes
from conductor.traffic.port import TrafficRefused, TrafficUnavailable

CHECK_SECONDS = 30
STATUS_SECONDS = 2
# In a private mount namespace each candidate directory is mounted over the real one; then the shell executes nginx.
_OVERLAY = 'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 90; shift 2; done; shift; exec "$@"'
_CONFLICT = re.compile(r'conflicting server name "([^"]*)" on (\S+), ignored')
_NO_UPSTREAM = "conductor nginx install   (writes an upstream for every defined service)"


class Checked(NamedTuple):
    """A configuration that nginx accepts: its `dump`, and the server names that it ignores, with their address.

    nginx ignores a name in the later one of two server blocks with the same address, and only warns.
    """

    dump: str
    ignored_names: tuple[tuple[str, str], ...] = ()


class Nginx:
    """One nginx, by its configuration file. Conductor's own servers listen on `status_socket` and `others`."""

    def __init__(self, host: HostNginx, status_socket: Path, *others: Path) -> None:
        self._host = host
        self._status_socket = status_socket
        self._sockets = (status_socket, *others)
        self._built: dict[str, str] | None = None

    def check(self, overlays: Mapping[Path, Path]) -> Checked:
        """Return the whole configuration as nginx reads it, with each directory in `overlays` replaced by its candidate.

        Raises `TrafficRefused` with nginx's own error, which names file and line. Nothing is changed.
        """
        if not Path(self._host.binary).exists():
            raise ConductorError(
                f"cannot find nginx: {self._host.binary} does not exist",
                "apt-get install nginx-light   (or set host.nginx.binary)",
            )
        pairs = [str(path) for real, candidate in overlays.items() for path in (candidate, real)]
        nginx = [self._host.binary, "-T", "-q", "-c", self._host.config, *self._options()]
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
        return Checked(done.stdout, tuple(dict.fromkeys(_CONFLICT.findall(done.stderr))))

    def _options(self) -> list[str]:
        """Return the options of the running nginx that change how it reads its configuration."""
        master = self._running()
        given = processes.options(master) if master else {}
        return [word for name in ("p", "g") if name in given for word in (f"-{name}", given[name])]

    def master(self, dump: str) -> int:
        """Return the pid of the running master. `dump` is the checked configuration.

        The master is found by its pid file, else as the parent of the worker that answers the status server, else by the
        options in its title: a pid file may be named with `-g`, and relative to `-p`. Raise `TrafficUnavailable` when nginx
        is not running.
        """
        path, text = self._pid_file(dump), ""
        with contextlib.suppress(OSError):
            text = path.read_text().strip()
            if not text:
                path.unlink()  # `nginx -t` leaves an empty one when nginx does not run, which breaks later reloads
        master = int(text) if text.isdigit() and processes.is_master(int(text)) else self._running()
        if master is None:
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
        return master

    def _running(self) -> int | None:
        """Return the master of the worker that answers, or the only master with this configuration file."""
        _, worker = self.answering() or ("", 0)
        master = processes.parent(worker) if worker else None
        if master and processes.is_master(master):
            return master
        default = self._built_in("conf-path")
        config = Path(self._host.config)
        ours = [pid for pid, given in processes.masters().items() if Path(given.get("c", default)) == config]
        return ours[0] if len(ours) == 1 else None

    def _remove_dead_sockets(self) -> None:
        """Remove socket files that a killed master left: nginx cannot start while they exist."""
        for path in self._sockets:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
                try:
                    asking.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()

    def _pid_file(self, dump: str) -> Path:
        named = [one.arguments[0] for one in grammar.of_dump(dump) if one.name == "pid" and one.arguments]
        return self._path(named[0]) if named else self._built_in("pid-path")

    def error_log(self, dump: str, master: int | None = None) -> Path:
        """Return the file of the main context's first `error_log`, including one in option `-g`, or the built-in one."""
        given = processes.options(master) if master else {}
        found = [*grammar.options(given.get("g", "")), *grammar.of_dump(dump)]
        named = (one.arguments[0] for one in found if one.name == "error_log" and one.arguments)
        file = next((name for name in named if not name.startswith(("stderr", "syslog:", "memory:"))), given.get("e"))
        return self._path(file, given.get("p")) if file else self._built_in("error-log-path")

    def _path(self, named: str, prefix: str | None = None) -> Path:
        """Return a path of the configuration: relative ones are under nginx's prefix."""
        if named.startswith("/"):
            return Path(named)
        return Path(prefix or self._built_in("prefix"), named)

    def _built_in(self, option: str) -> Path:
        """Return a path that nginx was built with."""
        if self._built is None:
            try:
                words = [self._host.binary, "-V"]
                done = subprocess.run(words, capture_output=True, text=True, timeout=5, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise ConductorError(f"cannot run {self._host.binary} -V: {error}") from error
            self._built = dict(re.findall(r"--([a-z-]+)=(\S+)", done.stderr))
        return Path(self._built.get("prefix", "/usr/share/nginx"), self._built.get(option, ""))

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
