"""A whole host for a test: a container that boots systemd, with a Docker Engine, nginx, cron and ssh of its own.

    with Machine("web1", release=TRIXIE) as m:
        m.load_images("conductor-test-app:r1")
        converge(m, services)  # of cookbook.py
        m.run("conductor", "service", "status")
        m.reboot()

A machine has the same address for all its life, on a network that its maker made; `fleet.py` makes several on one. What
is on it goes with it, its volumes too; `tests/run` removes what a killed run left, by the label.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.host_image import (
    BOOKWORM,
    MAKE_SSH_KEY,
    NEWER_DOCKER,
    PODMAN,
    START,
    WRITABLE_NETWORK,
    Release,
    ensure_host_image,
)
from tests.support.machine_cache import kept, saved
from tests.support.machine_network import MachineError, Network, Ran, docker

# All but SYS_RESOURCE, which some kernels withhold, SYS_TIME, as the clock is shared with this machine, and those that no
# host's service needs. --privileged would ask for all.
CAPABILITIES = [
    "SYS_ADMIN",
    "NET_ADMIN",
    "SYS_PTRACE",
    "SYS_CHROOT",
    "MKNOD",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "NET_RAW",
    "SYS_NICE",
    "SYS_BOOT",
    "DAC_READ_SEARCH",
    "SYSLOG",
    "IPC_LOCK",
    "IPC_OWNER",
    "LEASE",
    "LINUX_IMMUTABLE",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
]
OPTIONS = [
    *(word for name in CAPABILITIES for word in ("--cap-add", name)),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--device-cgroup-rule", "a *:* rwm", "--cgroupns", "private"),
    *("--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec,mode=1777", "--volume", "/var/lib/docker"),
    *("--env", "container=docker", "--stop-signal", "SIGRTMIN+3"),  # the signal for an orderly halt
]
BOOT_SECONDS = 60.0
HALT_SECONDS = 60
POLL_SECONDS = 0.1
STATES = {"running", "degraded"}


class Machine:
    """One host. `with Machine(name) as m` boots it and waits until systemd is up and its Docker daemon answers.

    `network`: one that stays when the machine goes; without it the machine has its own. `options`: more of `docker run`'s.
    `image`: one that was made of another machine, of the same release.
    """

    def __init__(
        self,
        name: str,
        *,
        release: Release = BOOKWORM,
        network: Network | None = None,
        options: tuple[str, ...] = (),
        image: str = "",
    ) -> None:
        self.name = name
        self.release = release
        self.network = network or Network()
        self._own_network = network is None
        self._options = options
        self._image = image
        self.container = f"conductor-test-{self.network.token}-{name}"
        self._ran: list[Ran] = []

    @property
    def address(self) -> str:
        """The same one after a reboot."""
        return self.network.address(self.name)

    # what is done on it

    def run(
        self,
        *words: str,
        check: bool = True,
        input: str | bytes | None = None,  # noqa: A002 (as subprocess has it)
        timeout: float = 120,
        user: str = "root",
        env: Mapping[str, str] | None = None,
    ) -> Ran:
        """Run a command to its end. `check`: a code other than 0 is an `AssertionError` with all it said."""
        given = input.encode() if isinstance(input, str) else input
        began = time.monotonic()
        try:
            done = subprocess.run(
                self.words(*words, stdin=input is not None, user=user, env=env),
                input=given,
                stdin=subprocess.DEVNULL if given is None else None,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            said = f"{(error.stdout or b'').decode(errors='replace')}{(error.stderr or b'').decode(errors='replace')}"
            raise AssertionError(f"{self.name}: {' '.join(words)}: did not end in {timeout} s:\n{said}") from None
        texts = (done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        ran = Ran((f"{self.name}:", *words), done.returncode, *texts, time.monotonic() - began)
        self._ran = [*self._ran[-9:], ran]
        if check:
            ran.expect(0)
        return ran

    def spawn(self, *words: str, user: str = "root", **popen: Any) -> subprocess.Popen[str]:
        """Begin a command; it ends with a reboot. Its streams are pipes unless `popen` says otherwise."""
        chosen = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen}
        return subprocess.Popen(
            self.words(*words, stdin=chosen["stdin"] != subprocess.DEVNULL, user=user), text=True, **chosen
        )

    def words(
        self, *words: str, stdin: bool = False, user: str = "root", env: Mapping[str, str] | None = None
    ) -> list[str]:
        """What has to be run here so that `words` run there."""
        settings = [word for name, value in (env or {}).items() for word in ("--env", f"{name}={value}")]
        return ["docker", "exec", *(["-i"] if stdin else []), "--user", user, *settings, self.container, *words]

    def put(self, path: str, content: str | bytes, mode: int = 0o644, *, owner: str = "root:root") -> None:
        """Write a file, in one rename; its directory is made when it is missing."""
        script = (
            'set -e; mkdir -p "${1%/*}"; beside="${1%/*}/.${1##*/}.put"; umask 077; cat >"$beside"; '
            'chmod "$2" "$beside"; chown "$3" "$beside"; mv "$beside" "$1"'
        )
        self.run("sh", "-c", script, "put", path, f"{mode:o}", owner, input=content)

    def read(self, path: str) -> str:
        """A file's content."""
        return self.run("cat", path).stdout

    def exists(self, path: str) -> bool:
        """Whether there is something at a path."""
        return self.run("test", "-e", path, check=False).code == 0

    def load_images(self, *names: str) -> None:
        """Bring images of this machine's daemon, with their tags, into the host's."""
        with saved(names).open("rb") as tar:
            done = subprocess.run(
                self.words("docker", "load", "--quiet", stdin=True), stdin=tar, capture_output=True, check=False
            )
        if done.returncode:
            raise MachineError(f"cannot load {', '.join(names)} into {self.name}: {done.stderr.decode()}")

    def kept(self, directory: str, key: str) -> contextlib.AbstractContextManager[None]:
        """A directory as an earlier machine has made it within the block, if one has; what is made of it now is kept."""
        return kept(self.words, directory, f"{key}-{ensure_host_image(self.release).rpartition(':')[2]}")

    def copy(self, source: Path, directory: str) -> None:
        """A file, or what is in a directory, of this machine into a directory of the host."""
        self.run("mkdir", "-p", directory)
        docker("cp", f"{source}/." if source.is_dir() else str(source), f"{self.container}:{directory}/")

    # its life

    def start(self) -> None:
        """Boot it, and wait until it is up."""
        words = [
            "--name",
            self.container,
            "--hostname",
            self.name,
            "--network",
            self.network.name,
            "--ip",
            self.address,
        ]
        words += ["--label", f"conductor.instance={self.network.instance}", *OPTIONS, *self._options]
        others = [word for name, ip in self.network.addresses.items() for word in ("--add-host", f"{name}:{ip}")]
        script = START if self._image else MAKE_SSH_KEY + START
        if self.release == PODMAN:
            words += ["--env", "PODMAN_IGNORE_CGROUPSV1_WARNING=1"]
        if self.release in (PODMAN, NEWER_DOCKER):
            script = f"{WRITABLE_NETWORK}\n{script}"
        docker(
            "run", "--detach", *words, *others, self._image or ensure_host_image(self.release), "/bin/sh", "-c", script
        )
        self.wait_until_up()

    def reboot(self, *, orderly: bool = True) -> None:
        """Down and up again, and wait until it is up. Not orderly: as if the current had failed."""
        self.power_off(orderly=orderly)
        self.power_on()

    def power_off(self, *, orderly: bool = True) -> None:
        """It halts, or is cut off."""
        if orderly:
            docker("stop", "--time", str(HALT_SECONDS), self.container, timeout=HALT_SECONDS + 60)
        else:
            docker("kill", self.container)
            docker("wait", self.container)

    def power_on(self, *, wait: bool = True) -> None:
        """Boot it again."""
        docker("start", self.container)
        if wait:
            self.wait_until_up()

    def wait_until_up(self, timeout: float = BOOT_SECONDS) -> None:
        """Until systemd has started all it was to start, and Docker answers."""
        state = ""

        def is_up() -> bool:
            nonlocal state
            state = self._quiet("systemctl", "is-system-running").strip()
            return state in STATES and bool(self._quiet("docker", "version", "--format", "{{.Server.Version}}"))

        self.wait_for(is_up, lambda: f"{self.name} to be up: it is {state or 'silent'}", timeout)

    def wait_for(self, condition: Callable[[], Any], what: str | Callable[[], str], timeout: float = 30) -> Any:
        """Look again and again until `condition` gives something true, and return that."""
        until = time.monotonic() + timeout
        while not (found := condition()):
            if time.monotonic() > until:
                waited_for = what if isinstance(what, str) else what()
                raise AssertionError(f"waited {timeout} s for {waited_for}\n{self.describe()}")
            time.sleep(POLL_SECONDS)
        return found

    def describe(self) -> str:
        """For a failed test: the last commands, units that failed, containers, files of nginx and cron, the journal."""
        look = {
            "units that failed": "systemctl --failed --no-legend --no-pager",
            "status": "conductor service status",
            "containers": "docker ps --all --format 'table {{.Names}} {{.Status}} {{.Image}}'",
            "journals of changes": "head -n 50 /var/lib/conductor/journal/*.json",
            "nginx": "head -n 40 /etc/nginx/conductor.d/*; tail -n 15 /var/log/nginx/error.log",
            "cron": "head -n 20 /etc/cron.d/conductor-*",
            "systemd's journal": "journalctl --no-pager --lines 400 --output short-precise | grep -v level=info | tail -n 80",
        }
        parts = [f"machine {self.name} at {self.address}", *map(str, self._ran[-5:])]
        parts += [f"-- {title} --\n{self._quiet('sh', '-c', f'{script} 2>&1')}" for title, script in look.items()]
        if not docker("inspect", "--format", "{{.State.Running}}", self.container, check=False).stdout.startswith(
            "true"
        ):
            parts.append(f"it does not run: {docker('logs', '--tail', '20', self.container, check=False).output}")
        return "\n".join(parts)

    def __enter__(self) -> "Machine":
        try:
            if self._own_network:
                self.network.make()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove it with all that is on it."""
        try:
            docker("rm", "--force", "--volumes", self.container, check=False)
        finally:
            if self._own_network:
                self.network.close()

    def _quiet(self, *words: str) -> str:
        """What a command printed, whatever became of it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return subprocess.run(
                self.words(*words), capture_output=True, text=True, check=False, timeout=20, errors="replace"
            ).stdout
        return ""
