"""A private "host" for one test: its own instance, network, state, nginx and definitions, on the machine's Docker daemon
or on a daemon of the test.

`host.define(...)` writes the definitions, as Chef would, and `host.conductor(...)` runs a command, as an operator would.
Leaving the context removes everything, and fails if a command left containers without labels, processes or mounts.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker.errors
import yaml

from tests.support.announce import announce_seconds
from tests.support.claims import Claims
from tests.support.commands import ROOT, Result, Spawned
from tests.support.daemon import SOCKET, Container, Daemon
from tests.support.http_answer import Answer
from tests.support.images import APP
from tests.support.load import Load
from tests.support.nginx import PrivateNginx
from tests.support.odd_clients import EarlyBird

COMMAND = Path(sys.executable).with_name("conductor")  # what a crontab runs


class TestHost:
    """`with TestHost() as host`. `host.nginx` runs from the start, `host.daemon` is Docker."""

    __test__ = False  # pytest takes the name for a test class

    def __init__(self, docker: str = SOCKET, *, cutover: str = "reload") -> None:
        token = f"{os.getpid()}-{secrets.token_hex(3)}"  # tests/run removes what a killed process left behind
        self.instance = f"test-{token}"
        self.network = f"conductor-test-{token}"
        self.directory = Path(tempfile.gettempdir()) / self.network
        self.directory.mkdir(mode=0o755)  # nginx's workers pass through
        self.state_dir = self.directory / "state"
        self.runtime_dir = self.directory / "run"
        self.cron_dir = self.directory / "cron.d"
        self.config = self.directory / "services.yml"
        self._output = self.directory / "output"
        for path in (self.runtime_dir, self.runtime_dir / "nginx", self.cron_dir, self._output):
            path.mkdir(mode=0o755)
        self.claims = Claims()
        self.subnet = self.claims.subnet()
        self.daemon = Daemon(self.instance, self.network, docker)
        self.nginx = PrivateNginx(self.directory / "nginx", self.claims)
        self.cutover = cutover
        if cutover == "live":
            self.nginx.load_lua()
        self._ports: dict[str, int] = {}
        self._spawned: list[Spawned] = []
        self._results: list[Result] = []

    # Definitions.

    def define(
        self,
        services: Mapping[str, Mapping[str, Any]],
        *,
        host_extra: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the definitions. Each service is merged over `default_service`; None removes a key."""
        document = {
            "version": 1,
            "host": merged(self.default_host(), host_extra or {}),
            **({"defaults": dict(defaults)} if defaults else {}),
            "services": {name: merged(self.default_service(name), given) for name, given in services.items()},
        }
        return self.define_raw(yaml.safe_dump(document, sort_keys=False))

    def define_raw(self, text: str) -> Path:
        """Write the text as the definitions file, in one rename."""
        beside = self.config.with_suffix(".new")
        beside.write_text(text)
        beside.chmod(0o640)
        beside.replace(self.config)
        return self.config

    def default_host(self) -> dict[str, Any]:
        """Return the `host:` part: all paths are in the private directory."""
        first = self.subnet.rpartition(".")[0]
        return {
            "instance": self.instance,
            "docker": self.daemon.url,
            "network": {"name": self.network, "subnet": self.subnet, "tasks": f"{first}.192/26"},
            "state_dir": str(self.state_dir),
            "runtime_dir": str(self.runtime_dir),
            "nginx": {
                "include_dir": str(self.nginx.include_dir),
                "config": str(self.nginx.config),
                "binary": self.nginx.binary,
                "cutover": self.cutover,
            },
            "cron": {"dir": str(self.cron_dir), "command": str(COMMAND)},
        }

    def default_service(self, service: str) -> dict[str, Any]:
        """Return a service with two containers of the fixture app and a generated server block on its own port."""
        return {
            "image": APP,
            "count": 2,
            "env": {"SERVICE": service},
            "port": 8080,
            "health": {"path": "/health", "gate_interval": "100ms", "timeout": "2s", "start_timeout": "15s"},
            "nginx": {
                "upstream": service,
                "drain": "10s",
                "server": {"listen": [f"127.0.0.1:{self.port(service)}"], "names": ["localhost"]},
            },
            "stop": {"grace": "3s"},
        }

    def port(self, service: str = "web") -> int:
        """Return the port on which nginx serves this service, the same one each time."""
        if service not in self._ports:
            self._ports[service] = self.claims.port()
        return self._ports[service]

    def url(self, service: str = "web", path: str = "/") -> str:
        """Return the URL that clients use."""
        return f"http://127.0.0.1:{self.port(service)}{path}"

    def load(self, service: str = "web", path: str = "/", **clients: Any) -> Load:
        """Return clients that send requests to the service and count the lost ones, except `Loss.IDLE_LONGER`."""
        return Load(self.url(service, path), announce=announce_seconds(self.config.read_text()), **clients)

    # Commands.

    def conductor(
        self,
        *words: str,
        timeout: float = 120,
        env: Mapping[str, str] | None = None,
        check: bool = False,
        **popen: Any,
    ) -> Result:
        """Run a command to its end. `check`: an exit code other than 0 raises `AssertionError` with its output."""
        result = self.spawn(*words, env=env, **popen).wait(timeout)
        self._results.append(result)
        return result.expect(0) if check else result

    def upgrade(self, revision: str, service: str = "web", *more: str, **options: Any) -> Result:
        """Run `conductor service upgrade`."""
        return self.conductor("service", "upgrade", "--id", service, "--revision", revision, *more, **options)

    def spawn(self, *words: str, env: Mapping[str, str] | None = None, **popen: Any) -> Spawned:
        """Start a command and return at once. `popen`: stdin, stdout, stderr, as for `Popen`."""
        spawned = Spawned(words, self.environment(env), self._output, **popen)
        self._spawned.append(spawned)
        return spawned

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of commands: that of the tests, without variables that change the output."""
        excluded = {"FORCE_COLOR", "NO_COLOR", "CONDUCTOR_CONFIG", "COVERAGE_PROCESS_START"}
        ours = {name: value for name, value in os.environ.items() if name not in excluded}
        return {**ours, "CONDUCTOR_CONFIG": str(self.config), "PYTHONPATH": str(ROOT), **(extra or {})}

    # Observations.

    def kill(self, container: str) -> None:
        """Kill a container, and wait until Docker has recorded its exit: until then, it is listed as running."""
        before = self._finished(container)
        self.daemon.api.kill(container)
        self.wait_for(lambda: self._finished(container) != before, f"the exit of {container[:12]}", 30)

    def _finished(self, container: str) -> str | None:
        """Return when a container last exited; None when it was removed."""
        with contextlib.suppress(docker.errors.NotFound):
            return str(self.daemon.api.inspect_container(container)["State"]["FinishedAt"])
        return None

    def containers(self, service: str | None = None) -> list[Container]:
        """Return the containers of the instance, by their labels."""
        return self.daemon.containers(service)

    def revisions(self, service: str = "web") -> list[str]:
        """Return the revision of each running container of the service, sorted."""
        return sorted(c.revision for c in self.containers(service) if c.state == "running" and c.kind == "service")

    def get(self, path: str = "/", service: str = "web", *, method: str = "GET", timeout: float = 10) -> Answer:
        """Send one request through nginx on a new connection."""
        with contextlib.closing(EarlyBird(self.url(service, path), timeout=timeout)) as connection:
            return connection.send(method, b"")

    def wanted(self, service: str = "web") -> dict[str, Any] | None:
        """Return the wanted state of a service from its file; None when there is none."""
        return _read_json(self.state_dir / "services" / f"{service}.json")

    def journal(self, service: str = "web") -> dict[str, Any] | None:
        """Return the journal of a change in progress; None when there is none."""
        return _read_json(self.state_dir / "journal" / f"{service}.json")

    def history(self) -> list[dict[str, Any]]:
        """Return all entries of the history."""
        path = self.state_dir / "history.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for(self, condition: Callable[[], Any], what: str, timeout: float = 15) -> Any:
        """Call `condition` every 10 ms until its result is true; return that result."""
        until = time.monotonic() + timeout
        while not (found := condition()):
            if time.monotonic() > until:
                raise AssertionError(f"waited {timeout} s for {what}\n{self.describe()}")
            time.sleep(0.01)
        return found

    def describe(self) -> str:
        """Return what a failed test needs: containers with their logs, the last commands, files, nginx's log."""
        parts = [f"host {self.instance} in {self.directory}"]
        parts += [str(result) for result in self._results[-5:]]
        parts += [f"still running: conductor {' '.join(s.words)}\n{s.stderr}" for s in self._spawned if s.running()]
        for c in self.containers():
            log = self.daemon.api.logs(c.id, tail=10).decode(errors="replace")
            parts.append(f"container {c.name} {c.kind} {c.revision} {c.state} {c.address}\n{log}")
        for path in [*sorted(self.nginx.include_dir.glob("**/*")), self.config]:
            if path.is_file():
                parts.append(f"-- {path} --\n{path.read_text(errors='replace')}")
        parts.append(f"-- nginx error log --\n{self.nginx.log_tail()}")
        return "\n".join(parts)

    # Start and end.

    def __enter__(self) -> "TestHost":
        try:
            self.nginx.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        leaks = self.close()
        if leaks and kind is None:
            raise AssertionError("left behind:\n" + "\n".join(leaks))

    def close(self) -> list[str]:
        """Remove everything; return a line for each thing that a command left behind and no label identifies."""
        leaks: list[str] = []
        with contextlib.ExitStack() as stack:  # all of these run, also when some fail; the last one first
            stack.callback(self.claims.release)
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            stack.callback(self.daemon.close)
            stack.callback(lambda: leaks.extend(self._unmount()))
            stack.callback(self.daemon.remove_all)
            stack.callback(lambda: leaks.extend(self.daemon.unlabelled()))
            stack.callback(lambda: leaks.extend(self._end_processes()))
            stack.callback(self.nginx.stop)
            for spawned in self._spawned:
                stack.callback(spawned.end)
        return leaks

    def _end_processes(self) -> list[str]:
        """Kill processes of this host that are left a second after all commands have ended; return a line for each.

        The last call of a command that was killed, for example `nginx -T`, ends by itself within that time.
        """
        until = time.monotonic() + 1
        while (left := self._processes()) and time.monotonic() < until:
            time.sleep(0.02)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return [f"process {pid} outlived its command: {words}" for pid, words in left.items()]

    def _processes(self) -> dict[int, str]:
        """Return the commands of the processes of this host by process id."""
        marker = f"CONDUCTOR_CONFIG={self.config}".encode()
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if marker in (entry / "environ").read_bytes().split(b"\0"):
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found[int(entry.name)] = words
        return found

    def _unmount(self) -> list[str]:
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        ours = [m for m in mounts if m.startswith(f"{self.directory}/")]
        for mount in reversed(ours):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
        return [f"mount {mount}" for mount in ours]


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `over` merged into `under`: mappings recursively, other values replace, None removes."""
    result = dict(under)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def _read_json(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(FileNotFoundError):
        content: dict[str, Any] = json.loads(path.read_text())
        return content
    return None
