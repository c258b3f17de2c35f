"""Three whole hosts as the managers of one fleet, each with an edge, and what tests read of them."""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from conductor.runtime.swarm.objects import NAME, VALUE
from tests.support.announce import announce_seconds
from tests.support.cookbook import converge, service
from tests.support.load import Load
from tests.support.machine_network import Ran
from tests.support.shared_writes import SharedWrites
from tests.support.site import DEFINITIONS, load_app
from tests.support.swarm import SHARED, SwarmHost, swarm_hosts
from tests.support.witness import Seen, ask

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
BETWEEN, WATCHED = "between.sock", "/root/watched.yml"  # the socket of `watched`, and the definitions of its commands
ENDPOINT = re.compile(r"server (10\S+:21\d+)")
CONFIGS = "docker config ls -q | xargs docker config inspect"


class Managers:
    """Three managers, each with an edge."""

    def __init__(self, hosts: Iterable[SwarmHost]) -> None:
        self.machines = {one.machine.name: one.machine for one in hosts}
        self._urls = {one.machine.name: one.url for one in hosts}

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
        return set(ENDPOINT.findall(self.served(node)))

    def url(self, node: str) -> str:
        """For clients on this machine."""
        return f"http://{self.machines[node].address}:{PORT}/"

    def ask(self, node: str) -> Seen:
        """One request to the service through an edge."""
        return ask(self.machines[node].address, PORT, "shop")

    def load(self, node: str, *, busy: int, idle: int) -> Load:
        """As `load` of a test host."""
        announce = announce_seconds(self.machines[node].read(DEFINITIONS))
        return Load(self.url(node), busy=busy, idle=idle, announce=announce)

    @contextlib.contextmanager
    def loads(self, *nodes: str, busy: int = 1, idle: int = 2) -> Iterator[list[Load]]:
        """A load on each of these edges."""
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(self.load(node, busy=busy, idle=idle)) for node in nodes]

    @contextlib.contextmanager
    def watched(self, node: str) -> Iterator[SharedWrites]:
        """See and stop what the command writes that `spawn_watched` starts on this manager."""
        daemon = self._urls[node]
        with SharedWrites(Path(daemon.removeprefix("unix://")).with_name(BETWEEN), daemon) as between:
            yield between

    def spawn_watched(self, node: str, *words: str) -> subprocess.Popen[str]:
        """Start a command within `watched`."""
        return self.machines[node].spawn("env", f"CONDUCTOR_CONFIG={WATCHED}", "conductor", *words)

    def objects(self) -> dict[str, dict[str, str]]:
        """What the managers share, by name of the object and of the value."""
        found = json.loads(self.machines["h2"].run("sh", "-c", CONFIGS).stdout)
        labels = [one["Spec"]["Labels"] for one in found if NAME in one["Spec"]["Labels"]]
        return {
            one[NAME]: {key.removeprefix(VALUE): text for key, text in one.items() if key.startswith(VALUE)}
            for one in labels
        }

    def live(self) -> str:
        """The revision that the managers have recorded as live."""
        return str(json.loads(self.objects()["shop"]["wanted"])["release"]["revision"])

    def left(self, revision: str, count: int = 2) -> list[str]:
        """Return a line for each thing of the service that is not as it is when a change to `revision` has ended well."""
        objects, lines = self.objects(), []
        shop, book = objects["shop"], json.loads(objects["addresses"]["addresses"])
        if (live := json.loads(shop["wanted"])["release"]["revision"]) != revision:
            lines.append(f"{live} is live")
        if others := shop.keys() - {"wanted", "route", "history"}:
            lines.append(f"the record has {sorted(others)}")
        if book["reserved"] or "lock" in objects["addresses"]:
            lines.append(f"reserved: {objects['addresses']}")
        if (found := [one for one in self.services() if one.startswith("shop ")]) != [f"shop {revision}"] * count:
            lines.append(f"Swarm has {found}")
        served = {frozenset(self.endpoints(node)) for node in NODES}
        if len(served) != 1 or {len(one) for one in served} != {count}:
            lines.append(f"the edges serve {served}")
        request = json.loads(shop["route"])["id"]
        for node in NODES:
            edge = objects.get(f"edge.{node}", {})
            known = set(json.loads(edge.get(".view", "{}")).get("known", ()))
            if json.loads(edge.get("shop", "{}")).get("id") != request:
                lines.append(f"{node} has not confirmed the latest step")
            files = self.machines[node].run("sh", "-c", "cat /etc/nginx/conductor.d/*.conf").stdout
            if known != set(ENDPOINT.findall(files)):
                lines.append(f"{node} knows {known}")
            answer = self.ask(node)
            if answer.revision != revision:
                lines.append(f"{node} answers {answer}")
            form = (
                '{{.Label "conductor.service"}} {{.Label "conductor.revision"}} {{.Label "conductor.kind"}} {{.State}}'
                ' {{.Label "com.docker.swarm.service.id"}}'
            )
            containers = self.machines[node].run("docker", "ps", "-a", "--format", form).stdout.splitlines()
            # Swarm keeps the container of an earlier task as long as its service, for example when it moved the replica.
            ids = self.machines[node].run("docker", "service", "ls", "--quiet", "--no-trunc").stdout.split()
            expected = {f"shop {revision} service {state} {one}" for state in ("running", "exited") for one in ids}
            lines += [f"{node} has {one}" for one in containers if one.startswith("shop ") and one not in expected]
        return lines

    def settle(self, revision: str, timeout: float, count: int = 2) -> None:
        """Wait until `left` returns nothing."""
        self.machines["h1"].wait_for(
            lambda: not self.left(revision, count), lambda: f"{self.left(revision, count)}", timeout
        )

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
def fleet_managers(services: Mapping[str, Any] = SERVICES) -> Iterator[Managers]:
    """Boot the hosts, with the app's images and Conductor. Nothing is deployed."""
    with swarm_hosts(*NODES) as hosts:
        made = Managers(hosts)
        for name, machine in made.machines.items():
            load_app(machine)
            hosts[0].machine.run("docker", "node", "update", "--label-add", "conductor.edge=true", name)
        for machine in made.machines.values():
            converge(machine, services, host={"fleet": {"ports": PORTS}, "nginx": {"announce": ANNOUNCE}})
            definitions = yaml.safe_load(machine.read(DEFINITIONS))
            definitions["host"]["docker"] = f"unix://{SHARED}/{BETWEEN}"
            machine.put(WATCHED, json.dumps(definitions), 0o640)
        try:
            yield made
        finally:
            print(made.describe())
