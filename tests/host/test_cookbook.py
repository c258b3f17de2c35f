"""The cookbook on a whole host: systemd runs what it wrote, and a changed data bag is re-read but never deployed."""

from tests.host.conftest import COUNTS, SERVICES
from tests.support.cookbook import UNIT, converge
from tests.support.host import merged
from tests.support.site import Site

CONFIG = "/etc/conductor/services.yml"


def test_supervise_was_started_by_the_converge_and_a_second_one_changes_nothing(site: Site) -> None:
    assert site.machine.run("systemctl", "is-enabled", UNIT).stdout == "enabled\n"
    assert site.machine.run("systemctl", "is-active", UNIT).stdout == "active\n"
    pid = main_pid(site)
    assert converge(site.machine, SERVICES)["updated"] == []
    assert main_pid(site) == pid


def test_a_changed_data_bag_is_re_read_and_deploys_nothing(site: Site) -> None:
    site.deployed("r1", COUNTS)
    pid, before = main_pid(site), containers(site)
    outcome = converge(site.machine, {**SERVICES, "shop": merged(SERVICES["shop"], {"env": {"COLOUR": "blue"}})})
    unit = f"systemd_unit[{UNIT}.service]"
    assert outcome["updated"] == [f"template[{CONFIG}]", unit]
    assert (outcome["recorded"][-1]["resource"], outcome["recorded"][-1]["action"]) == (unit, "reload")
    assert main_pid(site) == pid
    assert "drifted" in site.conductor("service", "status", "--id", "shop").stdout
    assert containers(site) == before
    site.upgrade("r2", "shop")
    assert not set(containers(site)) >= set(before)
    assert "drifted" not in site.conductor("service", "status", "--id", "shop").stdout


def test_a_changed_host_section_restarts_supervise_which_writes_where_it_says(site: Site) -> None:
    site.deployed("r1", COUNTS)
    pid, before = main_pid(site), containers(site)
    site.machine.run("mkdir", "/srv/cron.d")
    outcome = converge(site.machine, SERVICES, {"cron": {"dir": "/srv/cron.d"}})
    assert "execute[restart conductor-supervise]" in outcome["updated"]
    assert main_pid(site) != pid
    assert containers(site) == before
    assert "host:" not in site.conductor("supervise", "status").stdout
    site.machine.run("nsenter", "--mount", "--target", main_pid(site), "touch", "/srv/cron.d/written")
    assert converge(site.machine, SERVICES, {"cron": {"dir": "/srv/cron.d"}})["updated"] == []


def main_pid(site: Site) -> str:
    return site.machine.run("systemctl", "show", "--property", "MainPID", "--value", UNIT).stdout.strip()


def containers(site: Site) -> list[str]:
    words = ("docker", "ps", "--quiet", "--filter", "label=conductor.service=shop")
    return sorted(site.machine.run(*words).stdout.split())
