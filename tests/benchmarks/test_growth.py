"""The duration of an upgrade alone on a host, and beside 100 services with 200 containers."""

from tests.benchmarks.figures import Figures
from tests.benchmarks.hosts import start_others
from tests.benchmarks.timing import upgrades
from tests.support.host import TestHost

ROUNDS, SERVICES = 7, 100


def test_cost_does_not_grow_with_the_host(images: None, figures: Figures) -> None:
    rounds = figures.number(ROUNDS, 0)
    with TestHost() as host:
        host.define({"web": {}})
        alone = upgrades(host, rounds)
        others = {
            f"other{n}": {
                "nginx": {"server": {"listen": [f"127.0.0.1:{host.port('others')}"], "names": [f"o{n}.test"]}}
            }
            for n in range(SERVICES)
        }
        host.define({"web": {}, **others})
        host.conductor("nginx", "install", check=True)
        start_others(host, SERVICES)
        beside = upgrades(host, rounds)
    figures.ratio(
        f"upgrade beside {SERVICES * 2} containers", list(zip(beside, alone, strict=True)), of="the same upgrade alone"
    )
