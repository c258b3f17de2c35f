"""The duration of an upgrade alone on a host, and beside 100 services with 200 containers."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

from tests.benchmarks.timing import upgrades
from tests.support.host import TestHost
from tests.support.images import BASE

ROUNDS, SERVICES, BOUND = 7, 100, 1.25


def start_others(host: TestHost) -> None:
    def start(number: int) -> None:
        labels = {
            "instance": host.instance,
            "service": f"other{number // 2}",
            "kind": "service",
            "release": "c",
            "change": "c",
        }
        words = [word for key, value in labels.items() for word in ("--label", f"conductor.{key}={value}")]
        run = ["docker", "run", "-d", "--network", "bridge", *words, BASE, "sleep", "3600"]
        subprocess.run(run, check=True, capture_output=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, range(SERVICES * 2)))


def test_cost_does_not_grow_with_the_host(images):
    with TestHost() as host:
        host.define({"web": {}})
        alone = upgrades(host, ROUNDS)
        others = {
            f"other{n}": {
                "nginx": {"server": {"listen": [f"127.0.0.1:{host.port('others')}"], "names": [f"o{n}.test"]}}
            }
            for n in range(SERVICES)
        }
        host.define({"web": {}, **others})
        host.conductor("nginx", "install", check=True)
        start_others(host)
        beside = upgrades(host, ROUNDS)
    print(f"\nupgrade alone {alone:.2f} s, beside {SERVICES * 2} containers {beside:.2f} s: {beside / alone:.2f} times")
    assert beside <= BOUND * alone
