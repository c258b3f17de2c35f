"""Three hosts as containers, one fleet: upgrades from each manager in turn, and the loss of a host, while clients send requests."""

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator

from tests.support.cookbook import converge, service
from tests.support.images import ensure_app
from tests.support.load import Load, LoadResult
from tests.support.machine import Machine
from tests.support.site import load_app
from tests.support.swarm import swarm_hosts

NODES = ("h1", "h2", "h3")
PORT = 8081
PORTS = [21000, 21099]
LIMIT_SECONDS = 180.0


def main() -> int:
    """Run the demo; return 0 if no request was lost in an upgrade, and the loss of a host lost at most one for each client."""
    parser = argparse.ArgumentParser(prog="examples/fleet", description=__doc__)
    parser.add_argument("--upgrades", type=int, default=6, help="number of upgrades (%(default)s)")
    parser.add_argument(
        "--clients", type=int, default=6, help="clients per host; half of them pause between requests (%(default)s)"
    )
    options = parser.parse_args()
    ensure_app()
    with swarm_hosts(*NODES) as hosts:
        machines = {one.machine.name: one.machine for one in hosts}
        _prepare(machines)
        with _clients(machines, NODES, options.clients) as loads:
            _title(f"{options.upgrades} upgrades, each on the next host, with load on all three")
            for number in range(options.upgrades):
                _upgrade(machines[NODES[number % 3]], ("r2", "r1")[number % 2])
            lost = _report(loads)
        return max(int(lost > 0), _lose_a_host(machines, options.clients))


def _prepare(machines: dict[str, Machine]) -> None:
    _title("Three hosts, each with Docker, nginx and Conductor, as the managers of one Swarm")
    services = {"shop": service("shop", PORT)}
    for name, machine in machines.items():
        load_app(machine)
        machines["h1"].run("docker", "node", "update", "--label-add", "conductor.edge=true", name)
        converge(machine, services, host={"fleet": {"ports": PORTS}})
        print(f"  {name} at {machine.address}", flush=True)
    _upgrade(machines["h1"], "r1")


def _upgrade(machine: Machine, revision: str) -> None:
    began = time.monotonic()
    machine.run("conductor", "service", "upgrade", "--id", "shop", "--revision", revision)
    print(f"  {machine.name}: upgraded shop to {revision} in {time.monotonic() - began:.1f} s", flush=True)


@contextlib.contextmanager
def _clients(machines: dict[str, Machine], names: tuple[str, ...], count: int) -> Iterator[dict[str, Load]]:
    idle = count // 2
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(Load(f"http://{machines[name].address}:{PORT}/", busy=count - idle, idle=idle))
            for name in names
        }


def _report(loads: dict[str, Load]) -> int:
    """Print what became of the requests, and return how many were lost."""
    results: dict[str, LoadResult] = {name: load.stop() for name, load in loads.items()}
    for name, result in results.items():
        print(f"  {name}: {result}", flush=True)
    return sum(one.lost for one in results.values())


def _lose_a_host(machines: dict[str, Machine], clients: int) -> int:
    def served(name: str) -> str:
        return machines[name].read("/etc/nginx/conductor.d/shop.conf")

    lost = next(name for name in reversed(NODES) if machines[name].address in served("h1"))
    others = tuple(name for name in NODES if name != lost)
    first, address = machines[others[0]], machines[lost].address
    _title(f"{lost} loses power, with load on {' and '.join(others)}")
    with _clients(machines, others, clients) as loads:
        began = time.monotonic()
        machines[lost].power_off(orderly=False)
        first.wait_for(
            lambda: not any(address in served(name) for name in others), "nginx without the host", LIMIT_SECONDS
        )
        print(f"  after {time.monotonic() - began:.1f} s, no nginx sends requests to it", flush=True)
        first.wait_for(
            lambda: all(served(name).count("server 10.") == 2 for name in others), "two replicas", LIMIT_SECONDS
        )
        print(f"  two replicas are serving again after {time.monotonic() - began:.1f} s", flush=True)
        lost_requests = _report(loads)
    print(first.run("conductor", "service", "status", "--id", "shop").stdout)
    return int(lost_requests > clients * len(others))


def _title(text: str) -> None:
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
