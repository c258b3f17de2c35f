"""Ways to replace the containers of a service, each as a context that serves a URL and upgrades to a revision."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.by_hand import ByHand
from tests.support.host import TestHost
from tests.support.http_answer import Answer
from tests.support.images import APP
from tests.support.odd_clients import EarlyBird

START_SECONDS = 60.0


class Peer(NamedTuple):
    """A service that runs. `upgrade` returns when its tool does."""

    url: str
    upgrade: Callable[[str], object]


def answer(url: str) -> Answer | None:
    """Return the answer to one request on a new connection; None without one."""
    with contextlib.suppress(OSError), contextlib.closing(EarlyBird(url, timeout=5)) as connection:
        return connection.send("GET", b"")
    return None


def wait_for_revision(url: str, revision: str, seconds: float = START_SECONDS) -> None:
    """Wait until an answer names the revision."""
    until = time.monotonic() + seconds
    while (found := answer(url)) is None or found.revision != revision:
        assert time.monotonic() < until, f"no answer of {revision} in {seconds:g} s: {found}"
        time.sleep(0.02)


def conductor(cutover: str, announce: str) -> Callable[[bool], contextlib.AbstractContextManager[Peer]]:
    """Return Conductor, with the drain of its default."""

    @contextlib.contextmanager
    def run(polite: bool) -> Iterator[Peer]:
        with TestHost(cutover=cutover) as host:
            service = {"env": {"POLITE": "1"} if polite else {}, "nginx": {"server": {"websockets": True}}}
            host.define({"web": service}, host_extra={"nginx": {"announce": announce}})
            yield Peer(host.url(), lambda revision: host.upgrade(revision, check=True))

    return run


def nginx_by_hand(*, waits: bool) -> Callable[[bool], contextlib.AbstractContextManager[Peer]]:
    """Return a script that reloads nginx and stops the old containers: at once, or after nginx's old workers (10 s)."""

    @contextlib.contextmanager
    def run(polite: bool) -> Iterator[Peer]:
        with TestHost() as host:
            yield Peer(host.url(), ByHand(host, announce_ms=0, waits=waits, polite=polite).upgrade)

    return run


COMPOSE = """\
version: "2.4"
services:
  web:
    image: {image}:${{REVISION}}
    environment: {{SERVICE: web, POLITE: "{polite}"}}
    labels: {{conductor.instance: {instance}}}
    ports: ["127.0.0.1:{port}:8080"]
    stop_grace_period: 3s
networks: {{default: {{name: {network}, labels: {{conductor.instance: {instance}}}, ipam: {{config: [{{subnet: {subnet}}}]}}}}}}
"""


@contextlib.contextmanager
def docker_compose(polite: bool) -> Iterator[Peer]:
    """`docker-compose up -d` with one replica, which a published port needs."""
    with TestHost() as host:
        project = host.directory / "compose"
        project.mkdir()
        (project / "docker-compose.yml").write_text(
            COMPOSE.format(
                image=APP, polite="1" if polite else "", instance=host.instance, port=host.port(), network=host.network,
                subnet=host.subnet,
            )
        )  # fmt: skip

        def upgrade(revision: str) -> None:
            words = ["docker-compose", "--project-name", host.network, "up", "-d"]
            environment = {**os.environ, "REVISION": revision, "DOCKER_HOST": host.daemon.url}
            done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr

        yield Peer(host.url(), upgrade)


def kamal_proxy(binary: Path) -> Callable[[bool], contextlib.AbstractContextManager[Peer]]:
    """Return kamal-proxy with two containers, which are started and stopped as Kamal does: around `kamal-proxy deploy`."""

    @contextlib.contextmanager
    def run(polite: bool) -> Iterator[Peer]:
        with TestHost() as host, contextlib.ExitStack() as stack:
            home = {**os.environ, "HOME": str(host.directory), "XDG_RUNTIME_DIR": str(host.directory)}
            ports = ["--http-port", str(host.port()), "--https-port", str(host.port("https"))]
            label = f"conductor.instance={host.instance}"
            create = ["docker", "network", "create", "--subnet", host.subnet, "--label", label, host.network]
            subprocess.run(create, check=True, capture_output=True)
            proxy = subprocess.Popen([binary, "run", *ports], env=home, stdout=subprocess.DEVNULL)
            stack.callback(proxy.wait)
            stack.callback(proxy.terminate)

            def upgrade(revision: str) -> None:
                old = host.containers()
                words = ["docker", "run", "-d", "--network", host.network, "--label", label, "-e", "SERVICE=web"]
                words += ["-e", f"POLITE={'1' if polite else ''}", f"{APP}:{revision}"]
                for _ in range(2):
                    subprocess.run(words, check=True, capture_output=True)
                new = {one.address for one in host.containers()} - {one.address for one in old}
                deploy = [binary, "deploy", "web", "--target", ",".join(f"{address}:8080" for address in sorted(new))]
                deploy += ["--health-check-path", "/health", "--drain-timeout", "10s"]
                done = subprocess.run(deploy, env=home, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stderr
                for one in old:
                    host.daemon.api.stop(one.id, timeout=3)
                    host.daemon.api.remove_container(one.id)

            yield Peer(host.url(), upgrade)

    return run
