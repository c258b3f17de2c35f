"""The one door to nginx itself: checking a candidate, its master, its private status server.

`nginx -t` and `-s reload` returning 0 prove nothing (PITFALLS 1): the master is signalled here, `reload.py` proves.
"""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from conductor.definitions.model import HostNginx
from conductor.errors import ConductorError
from conductor.traffic.reload import processes

CHECK_SECONDS = 30
STATUS_SECONDS = 2
# In a mount namespace of its own each candidate directory lies over the real one, then nginx takes over the process.
_OVERLAY = 'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 90; shift 2; done; shift; exec "$@"'
_NO_UPSTREAM = "if that is a service of yours that never ran here: conductor nginx install; nothing was changed"


class NginxNotRunning(ConductorError):  # noqa: N818 (a state that `install` accepts)
    """The pid file names no nginx master."""


class NginxRefuses(ConductorError):  # noqa: N818 (as it says it)
    """The configuration is broken, by whomever."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=STATUS_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(STATUS_SECONDS)
        self.sock.connect(str(self._path))


class Nginx:
    """One nginx by its configuration file; Conductor's own servers listen on `status_socket` and on `others`."""

    def __init__(self, host: HostNginx, status_socket: Path, *others: Path) -> None:
        self._host = host
        self._status_socket = status_socket
        self._sockets = (status_socket, *others)

    def check(self, overlays: Mapping[Path, Path]) -> str:
        """The whole configuration as nginx reads it with each key directory replaced by its value, which stays unused.

        Raises with nginx's own words, which name file and line.
        """
        if not Path(self._host.binary).exists():
            raise ConductorError(
                f"cannot find nginx: there is no {self._host.binary}", "install nginx, or set host.nginx.binary"
            )
        pairs = [str(path) for real, candidate in overlays.items() for path in (candidate, real)]
        nginx = [self._host.binary, "-T", "-q", "-c", self._host.config]
        try:
            done = subprocess.run(
                ["unshare", "--mount", "--", "sh", "-c", _OVERLAY, "sh", *pairs, "--", *nginx],
                capture_output=True, timeout=CHECK_SECONDS, check=False, text=True, errors="surrogateescape",
                start_new_session=True,  # a terminal's Ctrl-C is for us
            )  # fmt: skip
        except FileNotFoundError as error:
            raise ConductorError(f"cannot check nginx's configuration: {error.filename} is not installed") from error
        except subprocess.TimeoutExpired as error:
            raise ConductorError(f"cannot check nginx's configuration: no answer in {CHECK_SECONDS} s") from error
        if done.stderr.startswith(("unshare:", "mount:")):
            raise ConductorError(
                f"cannot check nginx's configuration in a mount namespace: {done.stderr.strip()}", "run as root"
            )
        if done.returncode != 0:
            words = [line for line in done.stderr.splitlines() if "test failed" not in line]
            why = _first_error(words)
            hint = (
                _NO_UPSTREAM if "host not found in upstream" in why else "mend the file it names; nothing was changed"
            )
            raise NginxRefuses(f"nginx refuses its configuration: {why}", hint, tuple(words[:10]))
        return done.stdout

    def master(self, dump: str) -> int:
        """The pid of the running master, by the pid file that the configuration `dump` names."""
        path = self._pid_file(dump)
        text = ""
        with contextlib.suppress(OSError):
            text = path.read_text().strip()
            if not text:
                path.unlink()  # a check with nginx down leaves an empty one, which later commands stumble over
        if not text.isdigit() or not processes.is_master(int(text)):
            if self.generation() is not None:
                raise ConductorError(
                    f"nginx runs, but its pid file {path} does not name it", "restart nginx to write it anew"
                )
            self._remove_dead_sockets()
            raise NginxNotRunning(
                f"nginx is not running: {path} names no nginx master", "start it (systemctl start nginx)"
            )
        old = Path(f"{path}.oldbin")
        second = old.read_text().strip() if old.is_file() else ""
        if second.isdigit() and processes.is_master(int(second)):
            raise ConductorError(
                f"nginx is being replaced by another binary: {old} names a second master",
                "finish that first (kill -QUIT the old master)",
            )
        return int(text)

    def _remove_dead_sockets(self) -> None:
        """A socket file that nobody listens on, left by a killed master, stops nginx's next start."""
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
        """The file of the first `error_log`, or the built-in one."""
        named = re.search(r"^\s*error_log\s+\"?(/[^;\"\s]+)", dump, re.MULTILINE)
        return self._built_in("error-log-path", named[1] if named else None)

    def _built_in(self, option: str, named: str | None) -> Path:
        if named is not None and named.startswith("/"):
            return Path(named)
        built = subprocess.run([self._host.binary, "-V"], capture_output=True, text=True, timeout=5, check=False).stderr
        options = dict(re.findall(r"--([a-z-]+)=(\S+)", built))
        return Path(options.get("prefix", "/usr/share/nginx"), named or options.get(option, ""))

    @staticmethod
    def reload(master: int) -> None:
        """Ask the master to read its configuration anew; it answers nothing."""
        try:
            os.kill(master, signal.SIGHUP)
        except OSError as error:
            raise ConductorError(f"cannot signal nginx's master {master}: {error.strerror}") from error

    def generation(self) -> str | None:
        """What a worker that accepts connections now says it runs; None when no private server answers."""
        return (self._ask("/generation") or "").partition(" ")[0] or None

    def answering(self) -> tuple[str, int] | None:
        """A generation, and the pid of the worker that said so."""
        generation, _, pid = (self._ask("/generation") or "").partition(" ")
        return (generation, int(pid)) if pid.isdigit() else None

    def announced(self) -> bool | None:
        """Whether a worker sees the announce flag; None when nobody answers."""
        answer = self._ask("/announced")
        return None if answer is None else answer == "1"

    def clients(self) -> tuple[int, int] | None:
        """Requests under way, this question included, and idle connections, all services together; None when nobody
        answers.
        """
        found = re.search(r"Writing: (\d+) Waiting: (\d+)", self._ask("/clients") or "")
        return (int(found[1]), int(found[2])) if found else None

    def _ask(self, path: str) -> str | None:
        with contextlib.closing(_UnixConnection(self._status_socket)) as connection:
            try:
                connection.request("GET", path, headers={"Connection": "close"})
                answer = connection.getresponse()
                return answer.read().decode() if answer.status == 200 else None
            except (OSError, http.client.HTTPException):
                return None


def _first_error(words: list[str]) -> str:
    for line in words:
        if "[emerg]" in line or "[crit]" in line:
            return re.sub(r"^\d+#\d+: ", "", line.partition("] ")[2]).strip()
    return words[0].strip() if words else "no reason given"
