"""A rollback against the upgrade that it rolls back: two replicas, boot 0.3 s, in turns.

The upgrade pulls its image from a registry on 127.0.0.1, with one new layer of 48 MiB for the app's code and assets. The
ratio to an upgrade whose image is present is printed too.
"""

import statistics

from tests.benchmarks.timing import seconds_of
from tests.support.docker_registry import DockerRegistry
from tests.support.host import TestHost

ROUNDS, BOUND = 7, 0.9
LAYER_BYTES = 48 * 2**20


def test_at_most_nine_tenths_of_an_upgrade(images):
    pulled, back, again = [], [], []
    with TestHost() as host, DockerRegistry(host.directory / "registry") as registry:
        host.define({"web": {"image": registry.image}})
        for number in range(ROUNDS + 2):
            registry.push(f"v{number}", layer_bytes=LAYER_BYTES)
        seconds_of(host, "upgrade", "--revision", "v0")
        for number in range(1, ROUNDS + 2):
            pulled.append(seconds_of(host, "upgrade", "--revision", f"v{number}"))
            back.append(seconds_of(host, "rollback"))
            assert host.get().revision == f"v{number - 1}"
            again.append(seconds_of(host, "upgrade", "--revision", f"v{number}"))
        host.daemon.remove_all()
    upgrade_s, rollback_s, local_s = (statistics.median(taken[1:]) for taken in (pulled, back, again))
    print(
        f"\nrollback of 2 replicas {rollback_s:.2f} s, upgrade with its pull {upgrade_s:.2f} s: "
        f"{rollback_s / upgrade_s:.2f} times; upgrade to a present image {local_s:.2f} s: "
        f"{rollback_s / local_s:.2f} times (medians of {ROUNDS})"
    )
    assert rollback_s <= BOUND * upgrade_s
