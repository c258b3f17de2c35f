"""The hosts that the deploy examples name, with an operator's machine beside them, as real hosts for a test.

Each host is what the cookbook makes it, runs the services that the examples deploy, and lets the user deploy do it.
"""

import json
from typing import Any, NamedTuple

import yaml

from tests.support.commands import ROOT
from tests.support.cookbook import converge, service
from tests.support.fleet import Fleet
from tests.support.images import APP
from tests.support.machine import Machine
from tests.support.site import Site

EXAMPLES = ROOT / "examples"
WEBS = ("web1.example.com", "web2.example.com", "web3.example.com")
OPERATOR = "operator"
PORTS = {"shop_web": 8081}
# What deploys call a revision, and the fixture app's own name for it.
REVISIONS = {digit * 40: f"r{digit}" for digit in "12345"}
DEFINITIONS = "/etc/conductor/services.yml"
CRONTAB = "*/30 * * * * echo job of $REVISION\n"
SERVICES: dict[str, dict[str, Any]] = {
    "shop_web": service("shop_web", PORTS["shop_web"]),
    "shop_worker": {
        "image": APP,
        "command": ["sleep", "infinity"],
        "init": True,
        "health": {"none": True, "stable_for": "500ms"},
    },
}
CRON = {"shop_cron": {"image": APP, "count": 0, "cron": {"generate": ["printf", "%s", CRONTAB]}}}


class Shop(NamedTuple):
    """All of them."""

    fleet: Fleet
    sites: dict[str, Site]

    @property
    def operator(self) -> Machine:
        """Where people type."""
        return self.fleet[OPERATOR]

    def revisions(self) -> dict[str, set[str]]:
        """What each host runs, as containers, jobs and answers tell it; one word each when all agree."""
        return {name: revisions_of(site) for name, site in self.sites.items()}

    def break_revision(self, revision: str, *hosts: str) -> None:
        """On these hosts only, its web containers exit as they start."""
        for name, site in self.sites.items():
            document = yaml.safe_load(site.machine.read(DEFINITIONS))
            environment = document["services"]["shop_web"]["env"]
            kept = {key: value for key, value in environment.items() if not key.startswith("FAULT_")}
            broken = {f"FAULT_{REVISIONS[revision]}": "exit"} if name in hosts else {}
            document["services"]["shop_web"]["env"] = kept | broken
            site.machine.put(DEFINITIONS, json.dumps(document, indent=2), 0o640)


def prepare(fleet: Fleet) -> Shop:
    """From bare machines to a shop on which nothing was deployed yet."""
    fleet.each(_prepare_host, *WEBS)
    fleet.authorise(OPERATOR, *WEBS)
    for part in ("capistrano", "fabric", "ci"):
        fleet[OPERATOR].copy(EXAMPLES / part, f"/root/{part}")
    return Shop(fleet, {name: Site(fleet[name], PORTS) for name in WEBS})


def revisions_of(site: Site) -> set[str]:
    """Of one host."""
    found = {REVISIONS[one.revision] for one in site.replicas()}
    answer = site.ask("shop_web")
    found.add(answer.revision if answer.status == 200 else str(answer.status))
    if site.machine.exists("/etc/cron.d/conductor-shop_cron"):
        table = site.machine.read("/etc/cron.d/conductor-shop_cron")
        found |= {name for revision, name in REVISIONS.items() if revision in table}
    return found


def settle(site: Site, revision: str, counts: dict[str, int], timeout: float = 40) -> None:
    """Wait until exactly so many containers of it run, nothing is under way, and it answers by its own name."""
    machine, expected = site.machine, {service: (revision, count) for service, count in counts.items()}
    machine.wait_for(
        lambda: Site(machine, {}).is_settled(expected) and site.ask("shop_web").revision == REVISIONS[revision],
        lambda: f"{expected} to be settled: {site.containers()}",
        timeout,
    )


def _prepare_host(machine: Machine) -> None:
    machine.load_images(*(f"{APP}:{name}" for name in REVISIONS.values()))
    for revision, name in REVISIONS.items():
        machine.run("docker", "tag", f"{APP}:{name}", f"{APP}:{revision}")
    converge(machine, SERVICES | (CRON if machine.name == WEBS[-1] else {}))
