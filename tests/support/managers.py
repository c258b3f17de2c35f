"""Three whole hosts as the managers of one fleet, each with an edge, and what tests read of them."""

import contextlib
import json
import re
from collections.abc import Iterator

from tests.support.announce import announce_seconds
from tests.support.cookbook import converge, service
from tests.support.load import Load
from tests.support.machine import Machine
from tests.support.machine_network import Ran
from tests.support.site import DEFINITIONS, load_app
from tests.support.swarm import swarm_hosts

PORT = 8081
PORTS = [21000, 21099]
SERVICES = {"shop": service("shop", PORT, env={"FAULT_r9": "exit", "FAULT_r8": "never"}), "worker": {
    "image": "conductor-test-app", "command": ["sleep", "infinity"], "init": True,
    "health": {"none": True, "stable_for": "500ms"},
}, "nightly": {
    "image": "conductor-test-app", "count": 0, "cron": {"generate": ["printf", "%s", "* * * * * echo job of $REVISION\n"]},
}}  # fmt: skip
ANNOUNCE = "2s"  # longer than a client that is kept waiting for the processor pauses between two requests
NODES = ("h1", "h2", "h3")


class Managers:
    """Three managers, each with an edge."""

    def __init__(self, machines: dict[str, Machine]) -> None:
        self.machines = machines

    def conductor(self, node: str, *words: str, check: bool = True) -> Ran:
        """As root types it on a manager."""
        return self.machines[node].run("conductor", *words, check=check)

    def upgrade(self, node: str, revision: str, *more: str, check: bool = True) -> Ran:
        return self.conductor(node, "service", "upgrade", "--id", "shop", "--revision", revision, *more, check=check)

    def services(self) -> list[str]:
        """The replicas that Swarm has, by service and revision."""
        form = '{{index .Spec.Labels "conductor.service"}} {{index .Spec.Labels "conductor.revision"}}'
        ids = self.machines["h1"].run("docker", "service", "ls", "-q").stdout.split()
        return (
            sorted(self.machines["h1"].run("docker", "service", "inspect", "--format", form, *ids).stdout.splitlines())
            if ids
            else []
        )

    def served(self, node: str) -> str:
        """What nginx of an edge sends requests to."""
        return self.machines[node].read("/etc/nginx/conductor.d/shop.conf")

    def endpoints(self, node: str) -> set[str]:
        """Those in the file of an edge."""
        return set(re.findall(r"server (10\S+:21\d+)", self.served(node)))

    def url(self, node: str) -> str:
        """For clients on this machine."""
        return f"http://{self.machines[node].address}:{PORT}/"

    def load(self, node: str, *, busy: int, idle: int) -> Load:
        """As `load` of a test host."""
        announce = announce_seconds(self.machines[node].read(DEFINITIONS))
        return Load(self.url(node), busy=busy, idle=idle, announce=announce)

    def is_leader(self, node: str) -> bool:
        """Whether a manager leads the Swarm."""
        form = "{{.ManagerStatus.Leader}}"
        return self.machines[node].run("docker", "node", "inspect", "--format", form, "self").stdout.strip() == "true"

    def job_minutes(self, *nodes: str) -> list[str]:
        """The minutes in which these managers ran the job, as they recorded it."""
        texts = (self.conductor(node, "service", "history", "--id", "nightly", "--json").stdout for node in nodes)
        found = (one for text in texts for one in json.loads(text)["history"] if one["action"] == "cron")
        return [one["began"][:16] for one in found if one["outcome"] == "done"]

    def all_reachable(self, node: str) -> bool:
        """Whether a manager sees all three."""
        found = self.machines[node].run("docker", "node", "ls", "--format", "{{.ManagerStatus}}", check=False)
        return sorted(found.stdout.split()) == ["Leader", "Reachable", "Reachable"]

    def recovered(self) -> bool:
        """Whether no change of a service is in progress or was interrupted."""
        found = json.loads(self.conductor("h2", "service", "status", "--json").stdout)
        [shop] = [one for one in found["services"] if one["service"] == "shop"]
        return bool(shop["condition"] == "ok")

    def repairs(self) -> int:
        """How many repairs any manager has recorded."""
        found = json.loads(self.conductor("h1", "service", "history", "--id", "shop", "--json").stdout)
        return sum(one["action"] == "repair" for one in found["history"])

    def describe(self) -> str:
        return "\n".join(
            f"{name}:\n{one.run('journalctl', '-u', 'conductor-supervise', '-n', '30', '--no-pager', check=False).stdout}"
            for name, one in self.machines.items()
        )


@contextlib.contextmanager
def fleet_managers() -> Iterator[Managers]:
    """Boot the hosts, with the app's images and Conductor. Nothing is deployed."""
    with swarm_hosts(*NODES) as hosts:
        machines = {one.machine.name: one.machine for one in hosts}
        for name, machine in machines.items():
            load_app(machine)
            machines["h1"].run("docker", "node", "update", "--label-add", "conductor.edge=true", name)
        for machine in machines.values():
            converge(machine, SERVICES, host={"fleet": {"ports": PORTS}, "nginx": {"announce": ANNOUNCE}})
        made = Managers(machines)
        try:
            yield made
        finally:
            print(made.describe())
