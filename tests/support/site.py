"""A host that the cookbook has prepared, as operators and clients see it."""

import json
import time
from typing import Any, NamedTuple

from tests.support.announce import announce_seconds
from tests.support.images import APP, REVISIONS
from tests.support.load import Load
from tests.support.machine import Machine
from tests.support.machine_network import Ran
from tests.support.witness import Seen, ask

DEFINITIONS = "/etc/conductor/services.yml"
FORMAT = '{{.Label "conductor.service"}} {{.Label "conductor.revision"}} {{.Label "conductor.kind"}} {{.State}}'


class There(NamedTuple):
    """A container of Conductor's."""

    service: str
    revision: str
    kind: str
    state: str


class Site:
    """`ports`: where nginx serves each service that has traffic."""

    def __init__(self, machine: Machine, ports: dict[str, int]) -> None:
        self.machine = machine
        self.ports = ports

    def conductor(self, *words: str, check: bool = True, **options: Any) -> Ran:
        """As root types it."""
        return self.machine.run("conductor", *words, check=check, **options)

    def upgrade(self, revision: str, *services: str, **options: Any) -> Ran:
        """Several services in one call are one upgrade."""
        ids = [word for service in services for word in ("--id", service)]
        return self.conductor("service", "upgrade", *ids, "--revision", revision, **options)

    def url(self, service: str) -> str:
        """For clients on this machine."""
        return f"http://{self.machine.address}:{self.ports[service]}/"

    def load(self, service: str, **clients: Any) -> Load:
        """As `load` of a test host."""
        return Load(self.url(service), announce=announce_seconds(self.machine.read(DEFINITIONS)), **clients)

    def ask(self, service: str) -> Seen:
        """One request to a service."""
        return ask(self.machine.address, self.ports[service], service)

    def containers(self, service: str = "") -> list[There]:
        """All of Conductor's, or a service's."""
        out = self.machine.run("docker", "ps", "-a", "--filter", "label=conductor.instance", "--format", FORMAT).stdout
        found = sorted(There(*line.split()) for line in out.splitlines())
        return [one for one in found if service in {"", one.service}]

    def replicas(self) -> list[There]:
        """All services' containers: unlike cron jobs, none comes or goes by itself."""
        return [one for one in self.containers() if one.kind == "service"]

    def wanted(self, service: str) -> dict[str, Any]:
        """The committed state as on disk."""
        return dict(json.loads(self.machine.read(f"/var/lib/conductor/services/{service}.json")))

    def is_settled(self, expected: dict[str, tuple[str, int]]) -> bool:
        """Exactly so many running containers of this revision for each service, each answers, and nothing is under way."""
        wanted = sorted(
            There(s, rev, "service", "running") for s, (rev, count) in expected.items() for _ in range(count)
        )
        if [one for one in self.containers() if one.service in expected] != wanted:
            return False
        if self.machine.run("sh", "-c", "ls /var/lib/conductor/journal/", check=False).stdout.strip():
            return False
        return all(
            self.serves(service, revision) for service, (revision, _) in expected.items() if service in self.ports
        )

    def is_served(self, expected: dict[str, tuple[str, int]]) -> bool:
        """So many containers of this revision run for each service, and it answers; what else is there does not matter."""
        there = self.containers()
        enough = [there.count(There(s, rev, "service", "running")) == count for s, (rev, count) in expected.items()]
        return all(enough) and all(self.serves(s, rev) for s, (rev, _) in expected.items() if s in self.ports)

    def deployed(self, revision: str, counts: dict[str, int]) -> dict[str, tuple[str, int]]:
        """Bring these services to a revision, whatever a test before has left; what `settle` then expects."""
        expected = {service: (revision, count) for service, count in counts.items()}
        if not self.is_settled(expected):
            self.upgrade(revision, *counts)
            self.settle(expected)
        return expected

    def serves(self, service: str, revision: str) -> bool:
        """Whether it answers, now, as itself, with this revision."""
        seen = self.ask(service)
        return (seen.status, seen.answered, seen.revision) == (200, service, revision)

    def settle(self, expected: dict[str, tuple[str, int]], timeout: float = 60) -> float:
        """Wait until it is settled; the seconds that took."""
        began = time.monotonic()
        self.machine.wait_for(
            lambda: self.is_settled(expected), f"{expected} to be settled: {self.containers()}", timeout
        )
        return time.monotonic() - began


def load_app(machine: Machine) -> None:
    """Every revision of the fixture app."""
    machine.load_images(*(f"{APP}:{revision}" for revision in REVISIONS))
