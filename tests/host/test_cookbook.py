"""The cookbook on a whole host: systemd runs what it wrote, and a changed data bag is re-read but never deployed."""

import pytest

from tests.host.conftest import COUNTS, SERVICES
from tests.support.cookbook import UNIT, converge
from tests.support.host import merged
from tests.support.site import Site

CONFIG = "/etc/conductor/services.yml"
PAGE = {
    "enabled": True, "server_name": "status.example.com", "certificate": "/etc/ssl/status.pem",
    "certificate_key": "/etc/ssl/status.key", "user_file": "/etc/nginx/status.htpasswd", "metrics_from": ["127.0.0.1"],
}  # fmt: skip


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


@pytest.mark.long  # it installs another environment
def test_the_status_page(site: Site) -> None:
    """Behind nginx with a password, Prometheus without; a missing file stops the converge and not nginx."""
    machine, curl = (
        site.machine,
        ("curl", "--silent", "--insecure", "--output", "/dev/stdout", "--write-out", "%{http_code}"),
    )
    site.deployed("r1", COUNTS)
    machine.put("/etc/nginx/status.htpasswd", "ops:{PLAIN}good\n", 0o644)
    failed = converge(machine, SERVICES, web=PAGE, fails=True)
    assert "/etc/ssl/status.pem, /etc/ssl/status.key must exist on the host" in failed["error"]
    machine.run("nginx", "-t")
    words = "openssl req -x509 -newkey rsa:2048 -nodes -keyout /etc/ssl/status.key -out /etc/ssl/status.pem -subj /CN=status.example.com"
    machine.run(*words.split())
    before = containers(site)
    outcome = converge(machine, SERVICES, {"web": {"logs": True}}, PAGE)
    assert "execute[load the status page into nginx]" in outcome["updated"]
    assert containers(site) == before
    assert machine.run(*curl, "https://127.0.0.1/").stdout.endswith("401")
    machine.wait_for(
        lambda: "services are healthy" in machine.run(*curl, "--user", "ops:good", "https://127.0.0.1/").stdout,
        "the page",
    )
    assert "conductor_supervise_up 1.0" in machine.run(*curl, "https://127.0.0.1/metrics").stdout
    shown = lambda: machine.run(*curl, "--user", "ops:good", "https://127.0.0.1/services/shop").stdout  # noqa: E731
    machine.wait_for(lambda: "Latest log lines" in shown(), "the log lines")
    assert machine.run("systemctl", "is-enabled", "conductor-web.socket").stdout == "enabled\n"
    assert converge(machine, SERVICES, {"web": {"logs": True}}, PAGE)["updated"] == []
    converge(machine, SERVICES)
    assert machine.run("ls", "/run/conductor/public/snapshot").stdout == "host.json\nlogs\n"
    assert machine.run("ls", "/run/conductor/public/snapshot/logs").stdout == ""
    assert machine.run("ls", "/etc/nginx/conf.d").stdout == "conductor.conf\n"
    machine.wait_for(
        lambda: machine.run(*curl, "https://127.0.0.1/", check=False).stdout == "000", "nginx without the page"
    )


def main_pid(site: Site) -> str:
    return site.machine.run("systemctl", "show", "--property", "MainPID", "--value", UNIT).stdout.strip()


def containers(site: Site) -> list[str]:
    words = ("docker", "ps", "--quiet", "--filter", "label=conductor.service=shop")
    return sorted(site.machine.run(*words).stdout.split())
