"""Swarms of whole hosts, whose Docker daemons also listen in directories that the test shares with them."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.images import APP
from tests.support.machine import Machine
from tests.support.machine_network import Network

SHARED = "/srv/shared"
SWARM_OPTIONS = ("--dispatcher-heartbeat", "3s")  # as in the manual
DROP_IN = f"[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// -H unix://{SHARED}/docker.sock\n"


class SwarmHost(NamedTuple):
    """A node that manages the swarm and has the app's image; `url` is where this machine reaches its daemon."""

    machine: Machine
    url: str

    def prepare(self) -> None:
        """Let the daemon listen, and load the image."""
        run = self.machine.run
        self.machine.put("/etc/systemd/system/docker.service.d/shared.conf", DROP_IN)
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", "docker")
        self.machine.load_images(f"{APP}:r1")

    def is_leader(self) -> bool:
        """Whether it leads the swarm now."""
        found = self.machine.run(
            "docker", "node", "inspect", "--format", "{{.ManagerStatus.Leader}}", "self", check=False
        )
        return found.stdout.strip() == "true"


@contextlib.contextmanager
def swarm_hosts(*names: str) -> Iterator[tuple[SwarmHost, ...]]:
    """Boot the hosts, and make them one swarm, of which each is a manager."""
    with contextlib.ExitStack() as stack:
        network = Network()
        network.make()
        stack.callback(network.close)
        hosts = []
        for name in names:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"conductor-test-{os.getpid()}-"))
            options = ("--volume", f"{directory}:{SHARED}")
            machine = stack.enter_context(Machine(name, network=network, options=options))
            hosts.append(SwarmHost(machine, f"unix://{Path(directory)}/docker.sock"))
            hosts[-1].prepare()
        first, *others = (one.machine for one in hosts)
        first.run("docker", "swarm", "init", *SWARM_OPTIONS, "--advertise-addr", first.address)
        token = first.run("docker", "swarm", "join-token", "--quiet", "manager").stdout.strip()
        for one in others:
            one.run(
                "docker", "swarm", "join", "--advertise-addr", one.address, "--token", token, f"{first.address}:2377"
            )
        yield tuple(hosts)


@contextlib.contextmanager
def swarm_host() -> Iterator[SwarmHost]:
    """Boot one host, and make it a swarm."""
    with swarm_hosts("manager") as [host]:
        yield host
