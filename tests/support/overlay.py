"""The machine's own root with a layer over it: what a command writes there, users and all, goes with the layer.

The layer lives in a mount and process namespace of its own, in memory; the machine is never written to.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.commands import ROOT

# "ready" is said from inside: whoever entered earlier would write to the machine itself.
# The repository may stand on another file system, which an overlay of / does not show.
_SETUP = """
set -e
mount -t tmpfs -o mode=755 none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
mkdir -p "$1/root/$2" "$1/root/run"
mount --bind "$2" "$1/root/$2"
mount -t tmpfs -o mode=755 none "$1/root/run"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
exec chroot "$1/root" sh -c 'echo ready; exec sleep infinity'
"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # Debian's own programs, whoever runs the tests


class Overlay:
    """A machine like this one, to be spoilt."""

    def __enter__(self) -> "Overlay":
        self._directory = tempfile.TemporaryDirectory(prefix="conductor-overlay-")
        words = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--propagation",
            "private",
            "sh",
            "-c",
            _SETUP,
        ]
        self._holder = subprocess.Popen(
            [*words, "sh", self._directory.name, str(ROOT)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._holder.stdout is not None
        said = self._holder.stdout.readline()
        if said != "ready\n":
            said += self._holder.communicate(timeout=10)[0]
            self._directory.cleanup()
            raise AssertionError(f"cannot lay a layer over this machine's root: {said}")
        pid = self._holder.pid
        self._inside = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        if Path(f"/proc/{self._inside}/root").samefile("/"):
            self.__exit__()
            raise AssertionError("cannot lay a layer over this machine's root: its holder stands on the root itself")
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()  # its child goes with it, and with that every process and mount inside
        self._holder.communicate()
        self._directory.cleanup()

    def run(
        self, *words: str, given: str = "", env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run one command as root inside."""
        enter = ["nsenter", "--target", self._inside, "--mount", "--pid", "--root", "--wdns=/"]
        return subprocess.run(
            [*enter, *words],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root", **(env or {})},
        )

    def checked(self, *words: str, given: str = "", env: Mapping[str, str] | None = None) -> str:
        """The same for a command that must go well: its standard output."""
        done = self.run(*words, given=given, env=env)
        if done.returncode:
            raise AssertionError(f"{' '.join(words)} exited {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    def put(self, path: str, text: str, mode: str = "0644") -> None:
        """Write one file inside; its directory is made."""
        self.checked("install", "-D", "-m", mode, "/dev/stdin", path, given=text)
