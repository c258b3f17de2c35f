"""The cookbook on a test host, run by the recorder of `chef_runs.py`, which performs there what it records."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from tests.support.chef_runs import COOKBOOK, RUBY
from tests.support.fleet import add_user
from tests.support.host import merged
from tests.support.images import APP
from tests.support.machine import Machine
from tests.support.wheels import wheelhouse

CHEF = "/var/chef"  # wheels, cookbook and recorder on the host
UNIT = "conductor-supervise"


def service(name: str, listen: int, /, **over: Any) -> dict[str, Any]:
    """Return the definition of the fixture app behind its own server block; its responses name the service."""
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
    machine: Machine,
    services: Mapping[str, Mapping[str, Any]],
    host: Mapping[str, Any] | None = None,
    web: Mapping[str, Any] | None = None,
    *,
    deb: str = "",
    fails: bool = False,
) -> dict[str, Any]:
    """Run the whole cookbook on a host; return the recorded and updated resources.

    `web`: the attributes of the status page. `deb`: the path of a Debian package there.
    """
    wheels = wheelhouse()
    add_user(machine, "deploy")
    machine.copy(wheels, f"{CHEF}/wheels")
    machine.copy(COOKBOOK, f"{CHEF}/cookbook")
    machine.copy(RUBY, f"{CHEF}/recorder")
    request = {
        "cookbook": f"{CHEF}/cookbook",
        "node": machine.name,
        "attributes": {
            "wheel": f"{CHEF}/wheels/{next(wheels.glob('conductor-*.whl')).name}",
            "pip_options": ["--quiet", "--no-index", "--find-links", f"{CHEF}/wheels"],
            "deb": deb or None,
            "deploy_users": ["deploy"],
            "host": dict(host or {}),
            **({"web": dict(web)} if web else {}),
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
    with contextlib.nullcontext() if deb else machine.kept("/opt/conductor", f"chef-{wheels.name}"):
        output = machine.run("ruby", f"{CHEF}/recorder/converge.rb", input=json.dumps(request), timeout=300).stdout
    outcome: dict[str, Any] = json.loads(output)
    assert ("error" in outcome) == fails, outcome
    return outcome
