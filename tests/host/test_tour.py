"""README's tour: every command, in order, on a bare host, with the output that README shows. Then the manual's page on
removal, on the same host."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.host.conftest import MACHINES_OWN, found
from tests.support.commands import ROOT
from tests.support.host_image import Release
from tests.support.images import BASE, ensure_base
from tests.support.machine import Machine
from tests.support.machine_network import Ran
from tests.support.wheels import wheelhouse

HEADING = "## A five-minute tour\n"
# The only substitution: the test host reaches no package registry, so pip installs the wheel of this very source.
SOURCE = "pip install .\n"
WHEELS = "/srv/wheels"
WITHOUT_REGISTRY = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS}
FROM_IMAGE = "python:3.12-slim"  # on the test host a tag of the tests' base image, which has python3 as well
DEFINITIONS, SERVER_BLOCK = "/etc/conductor/services.yml", "/etc/nginx/conf.d/hello.conf"  # of the tour
UNITS = {
    "conductor-web.service": "web --print-unit",
    "conductor-web.socket": "web --print-socket",
    "conductor-sync.service": "config sync --from etcd://127.0.0.1:1/conductor/web1 --print-unit",
}
BOOT_SECONDS = 60.0  # from a host that is up until its services answer again


class Command(NamedTuple):
    """One command of the tour, or a whole script, and the output that README shows for it."""

    text: str
    shown: str = ""


def tour() -> str:
    return (ROOT / "README.md").read_text().split(HEADING)[1].split("\n## ")[0]


def commands() -> Iterator[Command]:
    """A block of `sh` is one script; in a block of `console`, the lines below a command are its output."""
    for kind, text in re.findall(r"^```(\w+)\n(.*?)^```$", tour(), re.MULTILINE | re.DOTALL):
        if kind == "sh":
            yield Command(text)
        else:
            assert kind == "console", f"the test cannot run a block of {kind}"
            for one in re.findall(r"^\$ .*\n(?:[^$].*\n)*", text, re.MULTILINE):
                command, _, shown = one.partition("\n")
                yield Command(command.removeprefix("$ "), shown)


@pytest.fixture(scope="module")
def machine(release: Release) -> Iterator[Machine]:
    ensure_base()
    with Machine("tour", release=release) as bare:
        bare.load_images(BASE)
        bare.run("docker", "tag", BASE, FROM_IMAGE)
        bare.copy(wheelhouse(), WHEELS)
        yield bare


def test_the_host_has_the_packages_that_the_tour_names(machine: Machine) -> None:
    [packages] = re.findall(r"`apt-get install ([^`]+)`", tour())
    machine.run("dpkg", "--status", *packages.split())


def test_every_command_of_the_tour_works_in_order(machine: Machine) -> None:
    before, after = split_at_reboot(list(commands()))
    for command in before:
        ran = run(machine, command).expect(0)
        assert not command.shown or ran.stdout == command.shown, command.text
    machine.reboot()
    for command in after:  # the services start while systemd reports that the host is up
        machine.wait_for(
            lambda command=command: run(machine, command).stdout == command.shown, command.text, BOOT_SECONDS
        )
    assert machine.run("systemctl", "--failed", "--no-legend").stdout == ""
    page = (ROOT / "conductor" / "manual" / "nginx.md").read_text()
    assert machine.run("conductor", "help", "nginx").stdout == page  # package data of the wheel
    # nginx serves a replica as soon as Docker started it, which may be before supervise has seen it healthy.
    machine.wait_for(lambda: found(machine) <= MACHINES_OWN, f"doctor finds only {MACHINES_OWN}", BOOT_SECONDS)
    assert " 2/2 " in machine.run("conductor", "service", "list").stdout
    a_removed_service_leaves_nothing_and_can_return(machine)
    an_uninstalled_conductor_leaves_nothing(machine)


def a_removed_service_leaves_nothing_and_can_return(machine: Machine) -> None:
    """By the manual's page. The files that the page describes as edited by hand are edited between its blocks."""
    stop, install, forget = removal("Remove a service")
    run(machine, stop).expect(0)
    machine.run("cp", DEFINITIONS, "/root/services.yml")
    machine.run("cp", SERVER_BLOCK, "/root/hello.conf")
    machine.run("sed", "-i", "/^services:/,$c services: {}", DEFINITIONS)
    machine.run("sed", "-i", "/proxy_pass/d", SERVER_BLOCK)
    run(machine, install).expect(0)
    assert not machine.exists("/etc/nginx/conductor.d/hello.conf")
    assert found(machine) <= {*MACHINES_OWN, "stopped"}
    run(machine, forget).expect(0)
    assert found(machine) <= MACHINES_OWN
    assert paths(machine, "hello", "/var/lib/conductor", "/etc/nginx/conductor.d", "/etc/cron.d") == []
    machine.run("mv", "/root/services.yml", DEFINITIONS)
    machine.run("mv", "/root/hello.conf", SERVER_BLOCK)
    machine.run("conductor", "nginx", "install")
    machine.run("conductor", "service", "upgrade", "--id", "hello", "--revision", "r2")
    assert machine.run("curl", "-s", "http://localhost/").stdout == "hello from r2\n"


def an_uninstalled_conductor_leaves_nothing(machine: Machine) -> None:
    """By the manual's page, on a host that has all units. The store of the sync is not responding."""
    for unit, printed in UNITS.items():
        run(machine, Command(f"conductor {printed} >/etc/systemd/system/{unit}")).expect(0)
    machine.run("systemctl", "enable", "--now", "conductor-web.socket", "conductor-sync.service")
    stop, network, nginx, rest = removal("Uninstall Conductor")
    assert run(machine, stop).expect(0).stdout.count("\n") == 1, "only the header of docker ps"
    run(machine, network).expect(0)
    machine.run("rm", SERVER_BLOCK)
    for command in (nginx, rest):
        run(machine, command).expect(0)
    units = (
        "systemctl",
        "list-units",
        "--all",
        "--no-legend",
        "conductor*",
    )  # systemd forgets a removed one a little later
    machine.wait_for(lambda: machine.run(*units).stdout == "", "no unit")
    assert paths(machine, "conductor", "/etc", "/opt", "/run", "/usr/local", "/var/lib", "/var/log") == []
    assert machine.run("systemctl", "is-active", "nginx").stdout == "active\n"
    assert machine.run("docker", "network", "ls", "--quiet", "--filter", "label=conductor.instance").stdout == ""


def removal(heading: str) -> list[Command]:
    """Return the blocks of a section of the manual's page, for the service of the tour."""
    page = (ROOT / "conductor" / "manual" / "removal.md").read_text()
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return [Command(block.replace("shop_web", "hello")) for block in blocks]


def paths(machine: Machine, name: str, *directories: str) -> list[str]:
    """Return the paths below the directories whose last part contains `name`; what systemd stores in its journal is not one."""
    shown = machine.run(
        "find", *directories, "-xdev", "-path", "/var/lib/docker", "-prune", "-o", "-name", f"*{name}*", "-print"
    )
    return shown.stdout.splitlines()


def split_at_reboot(everything: list[Command]) -> tuple[list[Command], list[Command]]:
    at = everything.index(Command("reboot"))
    return everything[:at], everything[at + 1 :]


def run(machine: Machine, command: Command) -> Ran:
    """In one shell, which ends at the first command that fails."""
    script = command.text.replace(SOURCE, f"pip install {WHEELS}/conductor-*.whl\n")
    words = ("sh", "-e", "-c", f"cd /root\n{script}")
    return machine.run(*words, env=WITHOUT_REGISTRY, timeout=300, check=False)
