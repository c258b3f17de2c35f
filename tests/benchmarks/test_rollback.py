"""A rollback against the upgrade that it rolls back: two replicas, boot 0.3 s, in turns.

The upgrade pulls its image from a registry on 127.0.0.1, with one new layer of 48 MiB for the app's code and assets. The
ratio to an upgrade whose image is present is printed too.
"""

from tests.benchmarks.figures import Figures
from tests.benchmarks.timing import median, seconds_of
from tests.support.docker_registry import DockerRegistry
from tests.support.host import TestHost

ROUNDS = 7
LAYER_BYTES = 48 * 2**20


def test_against_an_upgrade(images: None, figures: Figures) -> None:
    rounds = figures.number(ROUNDS, 0)
    pulled, back, again = [], [], []
    with TestHost() as host, DockerRegistry(host.directory / "registry") as registry:
        host.define({"web": {"image": registry.image}})
        for number in range(rounds + 2):
            registry.push(f"v{number}", layer_bytes=LAYER_BYTES)
        seconds_of(host, "upgrade", "--revision", "v0")
        for number in range(1, rounds + 2):
            pulled.append(seconds_of(host, "upgrade", "--revision", f"v{number}"))
            back.append(seconds_of(host, "rollback"))
            assert host.get().revision == f"v{number - 1}"
            again.append(seconds_of(host, "upgrade", "--revision", f"v{number}"))
        host.daemon.remove_all()
    figures.ratio(
        "rollback",
        list(zip(back[1:], pulled[1:], strict=True)),
        of="the upgrade, which pulls 48 MiB",
        upgrade_to_a_present_image=median(again[1:]),
    )
