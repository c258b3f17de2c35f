"""nginx itself: checking a configuration, finding its master and its files, and signalling it.

Exit code 0 of `nginx -t` or `-s reload` does not prove that a reload worked; `reload/reloader.py` verifies it.
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from conductor.definitions.host import HostNginx
from conductor.errors import ConductorError
from conductor.plan.route import TRAFFIC_FIXES, TrafficState
from conductor.times import duration_text
from conductor.traffic import grammar, processes
from conductor.traffic.port import TrafficRefused, TrafficUnavailable
from conductor.traffic.references import WHERE
from conductor.traffic.status_server import StatusServer

CHECK_SECONDS = 30
# In a private mount namespace each candidate directory is mounted over the real one; then the shell executes nginx.
_OVERLAY = 'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 90; shift 2; done; shift; exec "$@"'
_CONFLICT = re.compile(r'conflicting server name "([^"]*)" on (\S+), ignored')
_NO_UPSTREAM = "conductor nginx install   (writes an upstream for every defined service)"
# nginx names no file when nothing sets a variable. Each of these is set in one of Conductor's files.
_SET_IN = {
    "announce": ("server.inc", "no server block", WHERE["server.inc"]),
    "announce_back": ("location.inc", "no location", WHERE["location.inc"]),
    "conductor_generation": ("*.conf", "nothing", "add this line once inside http {}"),
}


class Checked(NamedTuple):
    """A configuration that nginx accepts: its `dump`, and the server names that it ignores, with their address.

    nginx ignores a name in the later one of two server blocks with the same address, and only warns.
    """

    dump: str
    ignored_names: tuple[tuple[str, str], ...] = ()


class Binary(NamedTuple):
    """What nginx prints about itself: its version, empty when it prints none, and the options that it was built with."""

    version: str
    options: dict[str, str]


class Nginx:
    """One nginx, by its configuration file. `status` is Conductor's own server in it."""

    def __init__(self, host: HostNginx, status: StatusServer) -> None:
        self._host = host
        self.status = status
        self._described: Binary | None = None

    def check(self, overlays: Mapping[Path, Path]) -> Checked:
        """Return the whole configuration as nginx reads it, with each directory in `overlays` replaced by its candidate.

        Raises `TrafficRefused` with nginx's own error, which names file and line. Nothing is changed.
        """
        self._require_binary()
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
                f"cannot check nginx's configuration: nginx -T did not finish within {duration_text(CHECK_SECONDS)}"
            ) from error
        if done.stderr.startswith(("unshare:", "mount:")):
            raise ConductorError(
                f"cannot check nginx's configuration in a mount namespace: {done.stderr.strip()}", "run as root"
            )
        if done.returncode != 0:
            raise self._refused([line for line in done.stderr.splitlines() if "test failed" not in line])
        return Checked(done.stdout, tuple(dict.fromkeys(_CONFLICT.findall(done.stderr))))

    def _refused(self, words: list[str]) -> TrafficRefused:
        cause, hint = _first_error(words), "fix the file that nginx names"
        unset = re.fullmatch(r'unknown "(\w+)" variable', cause)
        if unset and unset[1] in _SET_IN:
            file, blocks, where = _SET_IN[unset[1]]
            cause = f"{blocks} includes {self._host.include_dir}/{file}"
            hint = f"{where}:  include {self._host.include_dir}/{file};"
        elif "host not found in upstream" in cause:
            hint = _NO_UPSTREAM
        return TrafficRefused(f"nginx rejects its configuration: {cause}", hint, tuple(words[:10]))

    def complaint(self, config: Path) -> str:
        """Return what nginx prints when it cannot start with `config`, which ends it as soon as it is read."""
        options = self._options()
        prefix = options[options.index("-p") + 1] if "-p" in options else str(self._prefix())
        words = [self._host.binary, "-p", prefix, "-c", str(config)]
        try:
            done = subprocess.run(words, capture_output=True, timeout=CHECK_SECONDS, check=False, text=True)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConductorError(f"cannot run {self._host.binary}: {_cause(error)}") from error
        return done.stderr if done.returncode else ""

    def check_in_place(self) -> Checked:
        """Return the whole configuration as `check` does, without candidates.

        `nginx -T` creates its pid file, empty, when nginx is not running. That file is removed again.
        """
        pid_file = self._pid_file(grammar.of_file(Path(self._host.config)))
        present = pid_file.exists()
        try:
            return self.check({})
        finally:
            with contextlib.suppress(OSError):
                if not present and not pid_file.stat().st_size:
                    pid_file.unlink()

    def version(self) -> str:
        """Return the version, for example 1.22.1."""
        self._require_binary()
        if not (version := self._binary().version):
            raise ConductorError(f"cannot read the version of {self._host.binary}: its -V option prints none")
        return version

    def _require_binary(self) -> None:
        if not Path(self._host.binary).exists():
            raise ConductorError(
                f"cannot find nginx: {self._host.binary} does not exist",
                "apt-get install nginx-light   (or set host.nginx.binary)",
            )

    def _options(self) -> list[str]:
        """Return the options that change how nginx reads its files: those of the running nginx, and `host.nginx.prefix`."""
        master = self._running()
        given = processes.options(master) if master else {}
        if self._host.prefix is not None:
            given["p"] = self._host.prefix
        return [word for name in ("p", "g") if name in given for word in (f"-{name}", given[name])]

    def master(self, dump: str) -> int:
        """Return the pid of the running master. `dump` is the checked configuration.

        The master is found by its pid file, else as the parent of the worker that answers the status server, else by the
        options in its title: a pid file may be named with `-g`, and relative to `-p`. Raise `TrafficUnavailable` when nginx
        is not running.
        """
        path, text = self._pid_file(grammar.of_dump(dump)), ""
        with contextlib.suppress(OSError):
            text = path.read_text(errors="replace").strip()
            if not text:
                path.unlink()  # `nginx -t` leaves an empty one when nginx does not run, which breaks later reloads
        named = int(text) if text.isdecimal() else 0
        master = named if named and processes.is_master_here(named) else self._running()
        if master is None:
            if self.status.generation() is not None:
                raise ConductorError(
                    f"cannot reload nginx: it is running, but its pid file {path} does not contain the pid of its master",
                    "systemctl restart nginx",
                )
            self.status.remove_dead_sockets()
            raise TrafficUnavailable(
                f"nginx is not running: {path} does not contain the pid of a running nginx master",
                TRAFFIC_FIXES[self.down_state()],
            )
        self.refuse_second_master(path)
        return master

    def refuse_second_master(self, pid_file: Path | None = None) -> None:
        """Raise while nginx's binary is being upgraded: there are two masters, each with its own workers and memory."""
        if second := self.second_master(pid_file):
            raise ConductorError(
                f"cannot change nginx: its binary is being upgraded; process {second} is a second master",
                f"kill -QUIT {second}   (finishes the upgrade)",
            )

    def second_master(self, pid_file: Path | None = None) -> int | None:
        """Return the pid of the old master while nginx's binary is being upgraded."""
        old = Path(f"{pid_file or self._pid_file(grammar.of_file(Path(self._host.config)))}.oldbin")
        named = old.read_text(errors="replace").strip() if old.is_file() else ""
        return int(named) if named.isdecimal() and processes.is_master_here(int(named)) else None

    def has_master(self) -> bool:
        """Return whether at least one master with this configuration file is running, even if no worker answers."""
        try:
            return bool(self._masters())
        except ConductorError:  # nginx is not installed
            return False

    def down_state(self) -> TrafficState:
        """Return the state of an nginx that is not running. It cannot start without the files that server blocks include."""
        installed = Path(self._host.include_dir, "server.inc").exists()
        return TrafficState.DOWN if installed else TrafficState.FILES_MISSING

    def _running(self) -> int | None:
        """Return the master of the worker that answers, or the only master with this configuration file."""
        _, worker = self.status.answering() or ("", 0)
        master = processes.parent(worker) if worker else None
        if master and processes.is_master(master):
            return master
        found = self._masters()
        return found[0] if len(found) == 1 else None

    def _masters(self) -> list[int]:
        """Return the masters with this configuration file."""
        found, config = processes.masters(), Path(self._host.config)
        return [pid for pid, given in found.items() if Path(given.get("c") or self._built_in("conf-path")) == config]

    def _pid_file(self, directives: Iterable[grammar.Directive]) -> Path:
        named = [one.arguments[0] for one in directives if one.name == "pid" and one.arguments]
        return self._path(named[0]) if named else self._built_in("pid-path")

    def error_log(self, dump: str, master: int | None = None) -> Path:
        """Return the file of the main context's first `error_log`, including one in option `-g`, or the built-in one."""
        given = processes.options(master) if master else {}
        found = [*grammar.options(given.get("g", "")), *grammar.of_dump(dump)]
        named = (one.arguments[0] for one in found if one.name == "error_log" and one.arguments)
        file = next((name for name in named if not name.startswith(("stderr", "syslog:", "memory:"))), given.get("e"))
        return self._path(file, given.get("p")) if file else self._built_in("error-log-path")

    def _path(self, named: str, prefix: str | None = None) -> Path:
        """Return a path of the configuration: relative ones are under nginx's prefix, by default that of the definitions."""
        return Path(prefix or self._prefix(), named)

    def _prefix(self) -> Path:
        return Path(self._host.prefix or self._binary().options.get("prefix", "/usr/share/nginx"))

    def _built_in(self, option: str) -> Path:
        """Return a path that nginx was built with; a relative one is under its prefix."""
        return self._prefix() / self._binary().options.get(option, "")

    def _binary(self) -> Binary:
        if self._described is None:
            try:
                words = [self._host.binary, "-V"]
                done = subprocess.run(words, capture_output=True, text=True, timeout=5, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise ConductorError(f"cannot run {self._host.binary} -V: {_cause(error)}") from error
            version = next(iter(re.findall(r"nginx/([\d.]+)", done.stderr)), "")
            self._described = Binary(version, dict(re.findall(r"--([a-z-]+)=(\S+)", done.stderr)))
        return self._described

    @staticmethod
    def reload(master: int) -> None:
        """Signal the master to reload its configuration. The signal has no response."""
        try:
            os.kill(master, signal.SIGHUP)
        except OSError as error:
            raise ConductorError(f"cannot signal nginx's master {master}: {error.strerror}") from error


def _cause(error: OSError | subprocess.TimeoutExpired) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"it did not finish within {duration_text(error.timeout)}"


def _first_error(words: list[str]) -> str:
    for line in words:
        if "[emerg]" in line or "[crit]" in line:
            return re.sub(r"^\d+#\d+: ", "", line.partition("] ")[2]).strip()
    return words[0].strip() if words else "no reason given"
