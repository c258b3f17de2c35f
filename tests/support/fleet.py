"""Several machines on one network, which know one another by name, and ssh between them.

with Fleet("web1", "web2", "operator") as fleet:
    fleet.authorise("operator", "web1", "web2")
    fleet["operator"].run("ssh", "deploy@web1", "true")
"""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.support.host_image import BOOKWORM, Release
from tests.support.machine import Machine
from tests.support.machine_network import Network

AT_ONCE = 2  # machines that boot or install side by side


class Fleet:
    """`with Fleet(*names) as fleet` boots them all."""

    def __init__(self, *names: str, release: Release = BOOKWORM) -> None:
        self._network = Network()
        self._machines = {name: Machine(name, release=release, network=self._network) for name in names}

    def __getitem__(self, name: str) -> Machine:
        return self._machines[name]

    def each(self, what: Callable[[Machine], object], *names: str) -> None:
        """Do something on these machines, or on all, side by side; the first error is raised when all have ended."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            futures = [pool.submit(what, self._machines[name]) for name in names or self._machines]
        for future in futures:
            future.result()

    def authorise(self, source: str, *targets: str, user: str = "deploy") -> None:
        """From now on root of `source` reaches `user` of the targets, which is made, by ssh and asked nothing."""
        here = self[source]
        here.run("sh", "-c", "[ -e /root/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
        key = here.read("/root/.ssh/id_ed25519.pub")
        known = "" if not here.exists("/root/.ssh/known_hosts") else here.read("/root/.ssh/known_hosts")
        for target in targets:
            there = self[target]
            add_user(there, user)
            there.put(f"/home/{user}/.ssh/authorized_keys", key, 0o600, owner=f"{user}:{user}")
            there.run("chown", f"{user}:{user}", f"/home/{user}/.ssh")
            kind, words, *_ = there.read("/etc/ssh/ssh_host_ed25519_key.pub").split()
            known += f"{target},{there.address} {kind} {words}\n"
        here.put("/root/.ssh/known_hosts", known, 0o600)

    def describe(self) -> str:
        """For a failed test: every machine."""
        return "\n\n".join(machine.describe() for machine in self._machines.values())

    def __enter__(self) -> "Fleet":
        try:
            self._network.make()
            for name in self._machines:
                self._network.address(name)  # all are known before the first one boots and learns their names
            self.each(Machine.start)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove them all."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._network.close)
            for machine in self._machines.values():
                stack.callback(machine.close)


def add_user(machine: Machine, user: str) -> None:
    """A person without a password and without any group of root's."""
    machine.run("sh", "-c", 'id "$1" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$1"', "add", user)
