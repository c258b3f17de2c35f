"""The cookbook, run on a host: its recipes by the recorder of `chef_runs.py`, which there does what it records."""

import json
from collections.abc import Mapping
from typing import Any

from tests.support.chef_runs import COOKBOOK, RUBY
from tests.support.fleet import add_user
from tests.support.host import merged
from tests.support.images import APP
from tests.support.machine import Machine
from tests.support.wheels import wheelhouse

CHEF = "/var/chef"  # what a Chef client keeps on a host
UNIT = "conductor-supervise"


def service(name: str, listen: int, /, **over: Any) -> dict[str, Any]:
    """The fixture app behind a server block of Conductor's on a port of its own, which says its name."""
    return merged(
        {
            "image": APP,
            "count": 2,
            "env": {"SERVICE": name, "BOOT": "0.2"},
            "port": 8080,
            "health": {
                "path": "/health",
                "interval": "1s",
                "gate_interval": "100ms",
                "timeout": "2s",
                "start_timeout": "20s",
            },
            "nginx": {"drain": "10s", "server": {"listen": [str(listen)], "names": ["_"]}},
            "stop": {"grace": "3s"},
        },
        over,
    )


def converge(
    machine: Machine, services: Mapping[str, Mapping[str, Any]], host: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The whole cookbook, as a first run on a bare host has it; what was recorded and updated."""
    wheels = wheelhouse()
    add_user(machine, "deploy")
    machine.copy(wheels, f"{CHEF}/wheels")
    machine.copy(COOKBOOK, f"{CHEF}/cookbook")
    machine.copy(RUBY, f"{CHEF}/recorder")
    asked = {
        "cookbook": f"{CHEF}/cookbook",
        "node": machine.name,
        "attributes": {
            "wheel": f"{CHEF}/wheels/{next(wheels.glob('conductor-*.whl')).name}",
            "pip_options": ["--quiet", "--no-index", "--find-links", f"{CHEF}/wheels"],
            "deploy_users": ["deploy"],
            "host": dict(host or {}),
        },
        "data_bags": {
            "conductor_services": {
                name: {"id": name, "runs_on": {"roles": ["app"]}, **one} for name, one in services.items()
            },
            "conductor_hosts": {machine.name: {"id": machine.name, "roles": ["app"]}},
            "conductor_secrets": {"shop": {"id": "shop", "PASSWORD": "hunter2 #1"}},
        },
        "recipes": ["default"],
        "perform": True,
    }
    with machine.kept("/opt/conductor", f"chef-{wheels.name}"):
        said = machine.run("ruby", f"{CHEF}/recorder/converge.rb", input=json.dumps(asked), timeout=300).stdout
    outcome: dict[str, Any] = json.loads(said)
    assert "error" not in outcome, outcome
    return outcome
