"""The cost of `supervise` while nothing happens, how soon it replaces a container, and how soon a host is started."""

import json
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from conductor.definitions.model import Health
from conductor.health.probe import probe
from conductor.snapshot.published import published_path
from tests.benchmarks.figures import Figures
from tests.benchmarks.growth import record_growth
from tests.benchmarks.hosts import EACH, SERVICES, WIDTH, resident_mib, start_many, wait_for_all
from tests.benchmarks.monit import monit
from tests.benchmarks.timing import median
from tests.support.commands import ROOT
from tests.support.daemon import Container
from tests.support.daemon_between import DaemonBetween
from tests.support.host import TestHost, merged
from tests.support.images import BASE
from tests.support.supervised import Events, Supervised, cpu_seconds

MOST_MIB = 60.0
PASS_SECONDS, LONGEST_SECONDS = 5.0, 5.5
ROUNDS = 3
SIZES = ((5, 2), (10, 5), (SERVICES, EACH), (100, 4))  # services, and replicas of each


def own_seconds(host: TestHost) -> float:
    """Return how long the daemon itself takes to create and start one container now, on the network of the others."""
    api = host.daemon.api
    began = time.monotonic()
    config = api.create_networking_config({host.network: api.create_endpoint_config()})
    labels = {"conductor.instance": host.instance, "conductor.kind": "task"}
    made = api.create_container(BASE, ["sleep", "60"], labels=labels, networking_config=config)["Id"]
    api.start(made)
    taken = time.monotonic() - began
    api.remove_container(made, force=True)
    return taken


def cpu_shares(pids: list[int], windows: int, seconds: float) -> list[tuple[float, ...]]:
    """Return the share of a core that each process uses in each window; all are measured at the same time."""
    found = []
    for _ in range(windows):
        before, began = [cpu_seconds(pid) for pid in pids], time.monotonic()
        time.sleep(seconds)
        taken = time.monotonic() - began
        found.append(tuple((cpu_seconds(pid) - one) / taken for pid, one in zip(pids, before, strict=True)))
    return found


class Supervising(NamedTuple):
    """What supervising costs: the share of a core, MiB of memory, and seconds of a pass."""

    cpu: float
    memory_mib: float
    pass_seconds: float


def measure_supervising(figures: Figures, services: int, each: int, *, windows: int, seconds: float) -> Supervising:
    """Measure `supervise`, its floor and `monit` at the same time."""
    replicas = services * each
    with TestHost() as host, DaemonBetween(host.directory / "counting.sock") as between, ExitStack() as stack:
        address = start_many(host, between.url, services=services, each=each)
        words = ("-m", "tests.benchmarks.bare_checks", host.daemon.url, host.instance, address, str(replicas))
        sup = Supervised(host)
        floor = subprocess.Popen([sys.executable, *words], cwd=ROOT)
        try:
            peer = None if figures.short else stack.enter_context(monit(host.directory / "monit", address, replicas))
            spawned = sup.start()
            wait_for_all(sup, services, each)
            time.sleep(5 if figures.short else 15)
            threads = len(list(Path(f"/proc/{spawned.pid}/task").iterdir()))
            passes = published_passes(host)
            between.calls.clear()
            figures.look()
            found = cpu_shares([spawned.pid, floor.pid, *([peer] if peer else [])], windows, seconds)
            lists = sum("/containers/json" in call for call in between.calls)
            memory = resident_mib(spawned.pid)
            peer_memory = resident_mib(peer) if peer else 0.0
            count, total = (after - before for before, after in zip(passes, published_passes(host), strict=True))
            assert floor.poll() is None, "the bare loop has ended"
        finally:
            floor.kill()
            floor.wait()
            sup.end()
        assert " started: " not in sup.log, sup.log
    of = "a plain loop with the same checks and list calls"
    figures.ratio(
        f"supervise, {replicas} containers",
        [(one, other) for one, other, *_ in found],
        of=of,
        unit="of a core",
        memory_mib=round(memory, 1),
        pass_seconds=round(total / count, 4),
        threads=threads,
        list_calls=lists,
    )
    if peer:
        pairs = [(one[2], one[1]) for one in found]
        figures.ratio(f"monit, {replicas} checks", pairs, of=of, unit="of a core", memory_mib=round(peer_memory, 1))
    assert lists <= windows * seconds / PASS_SECONDS + 1
    assert memory <= MOST_MIB or replicas > SERVICES * EACH
    return Supervising(statistics.median(one[0] for one in found), memory, total / count)


def published_passes(host: TestHost) -> tuple[int, float]:
    """Return the number of passes of `supervise` and how long all of them took."""
    passes = json.loads(published_path(str(host.runtime_dir)).read_bytes())["totals"]["passes"]
    return passes["count"], passes["seconds"]


def test_cost_of_supervising(images: None, figures: Figures) -> None:
    """By number of replicas. `monit` makes the same checks, without list calls."""
    found = {
        services * each: measure_supervising(figures, services, each, windows=figures.number(2, 0), seconds=20)
        for services, each in SIZES
    }
    for name, unit in (("cpu", "of a core"), ("memory_mib", "MiB"), ("pass_seconds", "s")):
        costs = {size: getattr(one, name) for size, one in found.items()}
        record_growth(figures, f"supervise, {name.split('_')[0]}", "replicas", costs, unit=unit)


@pytest.mark.short
def test_cost_of_supervising_40_containers(images: None, figures: Figures) -> None:
    measure_supervising(figures, 10, 4, windows=figures.number(2, 1), seconds=20)


def test_docker_restarts_a_container(images: None, figures: Figures) -> None:
    """Docker's own restart policy: the time from an exit to the next start, beside the same floor as the repair."""
    with TestHost() as host:
        host.define({"web": {"count": 1, "nginx": None}})
        host.upgrade("r1", check=True)  # makes the network
        events = Events(host)
        found = []
        for number in range(figures.number(10, 0)):
            name = f"always{number}"
            labels = ["--label", f"conductor.instance={host.instance}", "--label", f"conductor.service={name}"]
            run = ["docker", "run", "-d", "--restart", "always", "--network", host.network, *labels, BASE]
            made = subprocess.run([*run, "sleep", "0.3"], check=True, capture_output=True, text=True).stdout.strip()
            host.wait_for(lambda name=name: len(events.of("start", name)) > 1, "a restart")
            host.daemon.api.remove_container(made, force=True)
            found.append((events.of("start", name)[1] - events.of("die", name)[0], own_seconds(host)))
        events.close()
    figures.ratio("from exit to restart by Docker", found, of="docker run alone")


@pytest.mark.short
def test_time_from_an_exit_to_the_start_of_its_replacement(images: None, figures: Figures) -> None:
    """The apps exit on SIGTERM. After a SIGKILL, Docker is asked for its cause first, so these are reported apart.

    Each exit is on another service, so that no delay applies.
    """
    exits, kills = max(2, figures.number(20, 6)), figures.number(4, 0)  # at least one exit of each kind
    with TestHost() as host:
        sup = Supervised(host)
        names = [f"k{n}" for n in range(exits + kills)]
        quick = {"env": {"BOOT": "0.05"}, "count": 2, "health": {"interval": "5s"}, "stop": {"grace": "1s"}}
        host.define(
            {name: merged(quick, {"nginx": None if n % 2 else {"drain": "2s"}}) for n, name in enumerate(names)}
        )
        ids = [word for name in names for word in ("--id", name)]
        host.conductor("service", "upgrade", *ids, "--revision", "r1", check=True, timeout=300)
        taken, created, own, serving = [], [], [], []
        try:
            sup.start()
            time.sleep(6)
            for number, name in enumerate(names):
                figures.look()
                victim = sup.running(name)[0]
                host.daemon.api.kill(victim.id, signal="SIGTERM" if number < exits else "SIGKILL")
                host.wait_for(lambda name=name: sup.events.of("start", name), f"a start of {name}\n{sup.log}", 10)
                exited = sup.events.of("die", name)[0]
                taken.append(sup.events.of("start", name)[0] - exited)
                created.append(sup.events.of("create", name)[0] - exited)
                if number < exits and number % 2 == 0 and not figures.short:
                    host.wait_for(lambda name=name: serves_two(sup, name), f"two served replicas of {name}")
                    serving.append(time.time() - exited)
                time.sleep(1.0)
                own.append(own_seconds(host))
            expected = re.compile(r"\S+: repair (started: .*|done)")
            odd = [line for line in sup.log.splitlines()[1:] if not expected.fullmatch(line)]
        finally:
            sup.end()
    print("\n".join(odd))
    figures.ratio(
        "from exit to start by supervise",
        list(zip(taken[:exits], own, strict=False)),
        of="docker run alone",
        through_nginx=median(taken[:exits:2]),
        without_nginx=median(taken[1:exits:2]),
        to_its_creation=median(created[:exits]),
        to_serving=median(serving) if serving else "not measured",
        killed=[round(one, 3) for one in taken[exits:]],
        longest=round(max(taken), 3),
    )
    assert max(taken) <= LONGEST_SECONDS


def serves_two(sup: Supervised, service: str) -> bool:
    """Return whether two replicas of a service run, and nginx serves exactly these."""
    running = {one.address for one in sup.running(service)}
    return len(running) == 2 and sup.served(service) == running


def kill_all(host: TestHost) -> list[Container]:
    """Stop all containers, as a reboot does; return them."""
    found = host.containers()
    with ThreadPoolExecutor(WIDTH) as pool:
        list(pool.map(lambda one: host.daemon.api.stop(one.id, timeout=0), found))
    host.wait_for(lambda: all(c.state == "exited" for c in host.containers()), "all to exit", 60)
    return found


def until_healthy(containers: list[Container], begin: Callable[[], object]) -> float:
    """Return the seconds from `begin` until each container has passed its health check."""
    began, missing = time.monotonic(), {c.labels["conductor.address"] for c in containers}
    begin()
    with ThreadPoolExecutor(SERVICES) as pool:  # a slow answer delays no other check
        while missing:
            asked = sorted(missing)
            answers = pool.map(lambda address: probe(address, Health(path="/health", timeout=0.2)).ok, asked)
            missing -= {address for address, ok in zip(asked, answers, strict=True) if ok}
            assert time.monotonic() - began < 300, missing
            time.sleep(0.05)
    return time.monotonic() - began


def test_a_host_start(images: None, figures: Figures) -> None:
    """The same containers started by a plain loop of the same width, and by supervise, in turns."""
    plain, supervised = [], []
    with TestHost() as host, ThreadPoolExecutor(WIDTH) as pool:
        names = [f"s{n}" for n in range(SERVICES)]
        quick = {"env": {"BOOT": "0.05"}, "count": 1, "nginx": None, "health": {"interval": "5s"}}
        host.define(dict.fromkeys(names, quick))
        ids = [word for name in names for word in ("--id", name)]
        host.conductor("service", "upgrade", *ids, "--revision", "r1", check=True, timeout=300)
        for _ in range(figures.number(ROUNDS, 0)):
            there = kill_all(host)
            plain.append(
                until_healthy(there, lambda there=there: pool.map(host.daemon.api.start, [c.id for c in there]))
            )
            there = kill_all(host)
            sup = Supervised(host)
            try:
                supervised.append(until_healthy(there, lambda sup=sup: sup.start()))
            finally:
                sup.end()
                shutil.rmtree(sup.sick)
            assert {c.id for c in host.containers()} == {c.id for c in there}
    figures.ratio(
        f"{SERVICES} services healthy after a host start", list(zip(supervised, plain, strict=True)), of="a plain loop"
    )
