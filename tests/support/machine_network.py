"""What machines are made with: the daemon outside, by its command, and a network on which each has an address of its own."""

import os
import secrets
import subprocess
import time

from tests.support.claims import Claims
from tests.support.commands import Result


class MachineError(RuntimeError):
    """A machine could not be made or did not come up."""


class Ran(Result):
    """What a command on a machine did; `words` begin with the machine's name."""

    def __str__(self) -> str:
        said = f"-- stdout --\n{self.stdout}\n-- stderr --\n{self.stderr}"
        return f"{' '.join(self.words)}: exit code {self.code} after {self.seconds:.2f} s\n{said}"


def docker(*words: str, check: bool = True, timeout: float = 180) -> Ran:
    """The command, to its end. `check`: a code other than 0 is an error with all it said."""
    began = time.monotonic()
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, timeout=timeout)
    ran = Ran(("docker", *words), done.returncode, done.stdout, done.stderr, time.monotonic() - began)
    if check and ran.code:
        raise MachineError(str(ran))
    return ran


class Network:
    """A network for machines, and their addresses on it; made by `make`, gone with `close`."""

    def __init__(self) -> None:
        self.token = f"{os.getpid()}-{secrets.token_hex(3)}"  # tests/run removes what a dead process left behind
        self.instance = f"test-{self.token}"
        self.name = f"conductor-test-{self.token}"
        self.addresses: dict[str, str] = {}
        self._claims = Claims()
        self._subnet = ""

    def make(self) -> None:
        """The network itself."""
        self._subnet = self._claims.subnet()
        label = f"conductor.instance={self.instance}"
        docker("network", "create", "--label", label, "--subnet", self._subnet, self.name)

    def address(self, name: str) -> str:
        """The one that this machine has, or will have."""
        first = self._subnet.rpartition(".")[0]
        return self.addresses.setdefault(name, f"{first}.{10 + len(self.addresses)}")

    def close(self) -> None:
        """Remove it; no machine is on it any more."""
        docker("network", "rm", self.name, check=False)
        self._claims.release()
