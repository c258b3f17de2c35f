"""The hosts that the deploy examples name, with an operator's machine beside them, as real hosts for a test.

Each host is what the cookbook makes it, runs the services that the examples deploy, and lets the user deploy do it.
"""

from typing import Any, NamedTuple

from tests.support.commands import ROOT
from tests.support.cookbook import converge, define, service
from tests.support.fleet import Fleet
from tests.support.host import merged
from tests.support.images import APP
from tests.support.machine import Machine
from tests.support.site import Site

EXAMPLES = ROOT / "examples"
WEBS = ("web1.example.com", "web2.example.com", "web3.example.com")
OPERATOR = "operator"
PORTS = {"shop_web": 8081}
# What deploys call a revision, and the fixture app's own name for it.
REVISIONS = {digit * 40: f"r{digit}" for digit in "12345"}
# As the cookbook's template has it.
SUDOERS = """\
Cmnd_Alias CONDUCTOR_DEPLOY = \\
    /usr/local/bin/conductor ^service upgrade( --id [a-z0-9][a-z0-9_-]*)+ --revision [0-9a-f]{40}$, \\
    /usr/local/bin/conductor ^service rollback --id [a-z0-9][a-z0-9_-]*$
Defaults!CONDUCTOR_DEPLOY env_reset, !setenv
deploy ALL = (root) NOPASSWD: NOSETENV: CONDUCTOR_DEPLOY
"""
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
        for name in self.sites:
            broken = {"env": {f"FAULT_{REVISIONS[revision]}": "exit"}} if name in hosts else {}
            define(self.sites[name].machine, services(name, web=broken))


def services(host: str, web: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """The definitions of a host; the jobs are on one."""
    found = {**SERVICES, "shop_web": merged(SERVICES["shop_web"], web or {})}
    return found | (CRON if host == WEBS[-1] else {})


def prepare(fleet: Fleet) -> Shop:
    """From bare machines to a shop on which nothing was deployed yet."""
    fleet.each(_prepare_host, *WEBS)
    fleet.authorise(OPERATOR, *WEBS)
    for part in ("capistrano", "fabric", "ci"):
        _copy(part, fleet[OPERATOR])
    return Shop(fleet, {name: Site(fleet[name], PORTS) for name in WEBS})


def revisions_of(site: Site) -> set[str]:
    """Of one host."""
    found = {REVISIONS[one.revision] for one in site.containers()}
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
    converge(machine, services(machine.name))
    machine.put("/etc/sudoers.d/conductor", SUDOERS, 0o440)
    machine.run("visudo", "--check", "--quiet")


def _copy(part: str, machine: Machine) -> None:
    for path in (EXAMPLES / part).rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = f"/root/{part}/{path.relative_to(EXAMPLES / part)}"
            machine.put(target, path.read_bytes(), path.stat().st_mode & 0o777)
