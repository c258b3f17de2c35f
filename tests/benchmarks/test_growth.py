"""The duration of an upgrade alone on a host, and beside 50 and 100 services with two containers each."""

from itertools import pairwise

from tests.benchmarks.figures import Figures
from tests.benchmarks.hosts import start_others
from tests.benchmarks.names import STEPS
from tests.benchmarks.timing import median, step_seconds, upgrades
from tests.support.host import TestHost

ROUNDS, SERVICES = 5, (0, 50, 100)


def test_cost_does_not_grow_with_the_host(images: None, figures: Figures) -> None:
    rounds = figures.number(ROUNDS, 0)
    found, steps = {}, {}
    with TestHost() as host:
        listen = [f"127.0.0.1:{host.port('others')}"]
        for before, services in pairwise((0, *SERVICES)):
            others = {
                f"other{n}": {"nginx": {"server": {"listen": listen, "names": [f"o{n}.test"]}}} for n in range(services)
            }
            host.define({"web": {}, **others})
            host.conductor("nginx", "install", check=True)
            start_others(host, range(before, services))
            found[services] = upgrades(host, rounds)
            steps[services] = step_seconds(host, rounds)
    for services in SERVICES:
        figures.report(f"{STEPS}{services} other services", steps=steps[services], all=median(found[services]))
    for services in SERVICES[1:]:
        figures.ratio(
            f"upgrade with {services * 2} other containers",
            list(zip(found[services], found[0], strict=True)),
            of="the same upgrade alone",
        )
