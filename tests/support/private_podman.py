"""Podman 5 of a test's own: Debian 13's, in a root directory and a network namespace of its own.

It shares this machine's processes and cgroups, so that the host's side of a container is where it is on a Podman host, and
leaves the machine's firewall and networks alone: its containers are not reached from here.
"""

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path

import docker

from conductor.errors import ConductorError
from conductor.runtime.docker.attach import TaskRuntime
from tests.support.host_image import only_one
from tests.support.images import WITHOUT, ImageError, cache_dir
from tests.support.machine_cache import saved

SUITE = "trixie"
PACKAGES = "podman,crun,netavark,aardvark-dns,iptables,nftables,procps"
START_SECONDS = 30.0
# Images and containers are in memory; and a kernel may refuse to change the settings that Podman changes by default.
SETTINGS = {
    "etc/containers/containers.conf": """\
[containers]
default_sysctls = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
""",
    "etc/containers/storage.conf": """\
[storage]
driver = "overlay"
runroot = "/run/containers"
graphroot = "{data}"
""",
}
START = """\
set -e
mount --bind "$1" "$1"
for directory in proc sys dev; do mount --rbind "/$directory" "$1/$directory"; done
for directory in run tmp; do mount -t tmpfs none "$1/$directory"; done
mkdir -p "$1$2"
mount --bind "$2" "$1$2"
umount "$1/sys/fs/cgroup/unified" 2>/dev/null || true  # crun refuses both versions at once
ip link set lo up
cd "$1"
mkdir -p old
pivot_root . old  # chroot alone is not enough: crun would enter a container at the machine's root
exec chroot . sh -c 'umount -l /old; exec podman system service --time 0 unix:///srv/podman.sock'
"""


class PrivatePodman:
    """`with PrivatePodman(directory) as podman`: `podman.url` is where it listens; what it has made goes with it."""

    def __init__(self, directory: Path) -> None:
        self._root = directory / "root"
        self._data = directory / "data"
        self._log = directory / "log"
        self.url = f"unix://{self._root}/srv/podman.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "PrivatePodman":
        self._root.mkdir(parents=True)
        self._data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", str(self._data)], check=True)
        try:
            subprocess.run(["tar", "-C", str(self._root), "-xf", str(ensure_podman())], check=True)
            for path, text in SETTINGS.items():
                (self._root / path).write_text(text.replace("{data}", str(self._data)))
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        words = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", START, "start", str(self._root)]
        words.append(str(self._data))
        env = {**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(f"podman did not start:\n{self._log.read_text()}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        with contextlib.suppress(ConductorError):
            TaskRuntime(self.url, "none").ping(1.0)
            return True
        return False

    def load(self, *images: str) -> None:
        """Images of the machine's daemon, as they are there."""
        with saved(images).open("rb") as tar:
            words = ["docker", "--host", self.url, "load", "--quiet"]
            subprocess.run(words, stdin=tar, stdout=subprocess.DEVNULL, check=True)

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            with (
                contextlib.suppress(docker.errors.DockerException),
                contextlib.closing(docker.APIClient(base_url=self.url)) as api,
            ):
                for container in api.containers(all=True):
                    api.remove_container(container["Id"], force=True, v=True)
            process.kill()  # its orderly end waits for connections
            process.wait()
        self._kill_monitors()
        subprocess.run(["umount", "--lazy", str(self._data)], check=False, capture_output=True)
        subprocess.run(["rm", "-rf", "--one-file-system", str(self._root)], check=False)

    def _kill_monitors(self) -> None:
        """Podman keeps them, and their cgroups, for minutes after each command that was run inside a container."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{self._data}/".encode() in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
        for parent in Path("/sys/fs/cgroup").glob("**/libpod_parent"):
            subprocess.run(
                ["find", parent, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], check=False, capture_output=True
            )


def ensure_podman() -> Path:
    """Make sure that a tar of the root directory is there; its path."""
    recipe = hashlib.sha256(repr((SUITE, PACKAGES, WITHOUT)).encode()).hexdigest()[:12]
    tar = cache_dir() / f"podman-{recipe}.tar"
    with only_one("podman"):
        if not tar.exists():
            for old in cache_dir().glob("podman-*.tar"):
                old.unlink()
            beside = tar.with_name(f".{os.getpid()}-{tar.name}")  # the suffix tells mmdebstrap what to make
            leave_out = [f"--dpkgopt=path-exclude={pattern}" for pattern in WITHOUT]
            clean = '--customize-hook=rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*'
            words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", *leave_out, clean]
            try:
                done = subprocess.run([*words, SUITE, str(beside)], capture_output=True, text=True, check=False)
                if done.returncode:
                    raise ImageError(f"cannot make Podman's root: {done.stderr[-2000:]}")
                beside.rename(tar)
            finally:
                beside.unlink(missing_ok=True)
    return tar
