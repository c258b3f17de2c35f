"""Hosts with many services, made without an upgrade of each."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.support.host import TestHost
from tests.support.images import BASE
from tests.support.supervised import Supervised

SERVICES, EACH = 50, 4
WIDTH = 4  # the default of `starts_at_once`


def start_many(host: TestHost, daemon: str, *, services: int = SERVICES, each: int = EACH, **host_extra: Any) -> str:
    """Create wanted states and containers as upgrades do; return the address of the one replica that answers health checks.

    All containers have the label with this address.
    """
    host.define({"web": {"count": 1, "nginx": None}})
    host.upgrade("r1", check=True)
    first = json.loads((host.state_dir / "services" / "web.json").read_text())
    (web,) = host.containers("web")
    address = web.labels["conductor.address"]
    image = host.daemon.api.inspect_image(BASE)["Id"]

    def service(number: int) -> None:
        name, change = f"s{number}", f"{number:08x}"
        release = {**first["release"], "service": name, "id": change, "image_id": image}
        release["definition"] = {**release["definition"], "count": each, "health": {"path": "/health", "interval": 5}}
        state = {**first, "service": name, "change": change, "release": release}
        (host.state_dir / "services" / f"{name}.json").write_text(json.dumps(state))
        for index in range(each):
            labels = {
                "instance": host.instance, "service": name, "kind": "service", "release": change, "change": change,
                "revision": "r1", "address": address, "definition": release["digest"],
            }  # fmt: skip
            words = [word for key, value in labels.items() for word in ("--label", f"conductor.{key}={value}")]
            run = ["docker", "run", "-d", "--name", f"{host.network}-{name}-{index}", "--network", "none", *words]
            subprocess.run([*run, BASE, "sleep", "3600"], check=True, capture_output=True)

    with ThreadPoolExecutor(WIDTH) as pool:
        list(pool.map(service, range(services)))
    many = {f"s{n}": {"count": each, "nginx": None, "health": {"interval": 5}} for n in range(services)}
    host.define({"web": {"count": 1, "nginx": None}, **many}, host_extra={"docker": daemon, **host_extra})
    return address


def wait_for_all(sup: Supervised, services: int = SERVICES, each: int = EACH) -> None:
    """Wait until `supervise` observes all services."""
    expected = f"{services + 1} services, {services * each + 1} containers"
    sup.host.wait_for(lambda: expected in sup.status()["text"], "all services")


def start_others(host: TestHost, services: range) -> None:
    """Start two containers of each of these services beside the one that is measured."""

    def start(number: int) -> None:
        labels = {
            "instance": host.instance, "service": f"other{number // 2}", "kind": "service", "release": "c", "change": "c",
        }  # fmt: skip
        words = [word for key, value in labels.items() for word in ("--label", f"conductor.{key}={value}")]
        run = ["docker", "run", "-d", "--network", "bridge", *words, BASE, "sleep", "3600"]
        subprocess.run(run, check=True, capture_output=True)

    with ThreadPoolExecutor(WIDTH) as pool:
        list(pool.map(start, range(services.start * 2, services.stop * 2)))


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    words = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()
    return int(words[0]) / 1024
