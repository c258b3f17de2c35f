"""README's tour: every command, in order, on a bare host, with the output that README shows."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.support.commands import ROOT
from tests.support.images import BASE, ensure_base
from tests.support.machine import Machine
from tests.support.machine_network import Ran
from tests.support.wheels import wheelhouse

HEADING = "## A five-minute tour\n"
# The only substitution: the test host reaches no package registry, so pip installs the wheel of this very source.
SOURCE = "pip install ./conductor"
WHEELS = "/srv/wheels"
WITHOUT_REGISTRY = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS}
FROM_IMAGE = "python:3.12-slim"  # on the test host a tag of the tests' base image, which has python3 as well
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
def machine() -> Iterator[Machine]:
    ensure_base()
    with Machine("tour") as bare:
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
    assert " 2/2 " in machine.run("conductor", "service", "list").stdout
    page = (ROOT / "conductor" / "manual" / "nginx.md").read_text()
    assert machine.run("conductor", "help", "nginx").stdout == page  # package data of the wheel


def split_at_reboot(everything: list[Command]) -> tuple[list[Command], list[Command]]:
    at = everything.index(Command("reboot"))
    return everything[:at], everything[at + 1 :]


def run(machine: Machine, command: Command) -> Ran:
    """In one shell, which ends at the first command that fails."""
    script = command.text.replace(SOURCE, f"pip install {WHEELS}/conductor-*.whl")
    words = ("sh", "-e", "-c", f"cd /root\n{script}")
    return machine.run(*words, env=WITHOUT_REGISTRY, timeout=300, check=False)
