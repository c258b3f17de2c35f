"""Exported Quadlet units on a host with Podman 5: systemd runs them, and the containers get what the definitions say."""

import shlex
from collections.abc import Iterator

import pytest

from conductor.definitions.load import restore
from conductor.export import quadlet
from conductor.export.export import Source
from tests.support.host_image import PODMAN
from tests.support.images import APP
from tests.support.machine import Machine

pytestmark = pytest.mark.long
ODD = "a $HOME ${HOME} $(HOME) %h 'b' \"c\"\\"
SECRET = "se$cret %h"
UNITS = "/etc/containers/systemd"
PRINT = ["/bin/sh", "-c", 'printf "%s\\n" "$ODD" "$SECRET" "$FROM_FILE" "$1"; exec sleep 1000', "sh"]


@pytest.fixture(scope="module")
def podman(images: None) -> Iterator[Machine]:
    with Machine("web1", release=PODMAN) as machine:
        machine.load_images(f"{APP}:r1")
        yield machine


def test_systemd_runs_the_units(podman: Machine) -> None:
    podman.put("/srv/secret", f"{SECRET}\n")
    podman.put("/srv/env", "FROM_FILE=1\n")
    keys = {
        "image": "conductor-test-app", "count": 2, "command": [*PRINT, ODD], "init": True, "memory": "64MiB",
        "env": {"ODD": ODD, "SECRET": {"file": "/srv/secret"}}, "env_file": "/srv/env", "stop": {"grace": "1s"},
        "health": {"command": ["/bin/sh", "-c", "test -e /cache"], "interval": "1s"}, "tmpfs": ["/cache:size=1m"],
        "labels": {"odd": ODD}, "hostname": "shop", "port": 8080, "publish": [21000, 21009],
    }  # fmt: skip
    files = quadlet.export([Source("web", restore("web", keys).service, "r1")]).files
    for name, text in files.items():
        podman.put(f"{UNITS}/{name}", text)
        for line in text.splitlines():
            if line.startswith("# printf "):
                podman.run("bash", "-euc", line.removeprefix("# "))
    podman.run("systemctl", "daemon-reload")
    services = [name.replace(".container", ".service") for name in files]
    started = podman.run("systemctl", "start", *services, check=False)
    assert started.code == 0, podman.run("journalctl", "--unit", "web@*", "--no-pager").stdout
    names = podman.run("podman", "ps", "--format", "{{.Names}}").stdout.split()
    assert len(names) == 2
    for number, name in enumerate(sorted(names)):
        assert podman.run("podman", "logs", name).stdout.splitlines() == [ODD, SECRET, "1", ODD]
        shown = podman.run("podman", "inspect", "--format", '{{index .Config.Labels "odd"}}', name).stdout
        assert shown.rstrip("\n") == ODD
        assert podman.run("podman", "port", name).stdout.strip() == f"8080/tcp -> 127.0.0.1:{21000 + number}"
        podman.run("podman", "healthcheck", "run", name)
    podman.run("sh", "-c", f"podman kill {shlex.quote(names[0])}")
    podman.wait_for(
        lambda: len(podman.run("podman", "ps", "--quiet").stdout.split()) == 2, "the unit starts the container again"
    )
    podman.run("systemctl", "stop", *services)
    assert podman.run("podman", "ps", "--all", "--quiet").stdout == ""
