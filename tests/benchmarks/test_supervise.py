"""The cost of `supervise` while nothing happens, with 200 containers in 50 services, and how soon it replaces a container."""

import json
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conductor.definitions.model import Health
from conductor.health.probe import probe
from tests.support.daemon import Container
from tests.support.daemon_between import DaemonBetween
from tests.support.host import TestHost, merged
from tests.support.images import BASE
from tests.support.supervised import Supervised, cpu_seconds

SERVICES, EACH, KILLS = 50, 4, 20
SECONDS = 60.0
MOST_CPU, MOST_MIB = 0.03, 60.0
PASS_SECONDS = 5.0
MEDIAN_SECONDS, LONGEST_SECONDS = 0.5, 5.5
WIDTH, ROUNDS, MOST_TIMES = 4, 3, 1.5  # the default of `starts_at_once`


def start_many(host: TestHost, daemon: str) -> None:
    """Create wanted states and containers as upgrades do. All containers have the label with the address of one replica that
    answers health checks."""
    host.define({"web": {"count": 1, "nginx": None}})
    host.upgrade("r1", check=True)
    first = json.loads((host.state_dir / "services" / "web.json").read_text())
    (web,) = host.containers("web")
    address = web.labels["conductor.address"]

    def service(number: int) -> None:
        name, change = f"s{number}", f"{number:08x}"
        release = {**first["release"], "service": name, "id": change}
        release["definition"] = {**release["definition"], "count": EACH, "health": {"path": "/health", "interval": 5}}
        state = {**first, "service": name, "change": change, "release": release}
        (host.state_dir / "services" / f"{name}.json").write_text(json.dumps(state))
        for index in range(EACH):
            labels = {
                "instance": host.instance, "service": name, "kind": "service", "release": change, "change": change,
                "revision": "r1", "address": address, "definition": release["digest"],
            }  # fmt: skip
            words = [word for key, value in labels.items() for word in ("--label", f"conductor.{key}={value}")]
            run = ["docker", "run", "-d", "--name", f"{host.network}-{name}-{index}", "--network", "none", *words]
            subprocess.run([*run, BASE, "sleep", "3600"], check=True, capture_output=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(service, range(SERVICES)))
    many = {f"s{n}": {"count": EACH, "nginx": None, "health": {"interval": 5}} for n in range(SERVICES)}
    host.define({"web": {"count": 1, "nginx": None}, **many}, host_extra={"docker": daemon})


def resident_mib(pid: int) -> float:
    words = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()
    return int(words[0]) / 1024


def by_hand(host: TestHost) -> float:
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


def test_cost_of_supervising_200_containers(images):
    with TestHost() as host, DaemonBetween(host.directory / "counting.sock") as between:
        start_many(host, between.url)
        sup = Supervised(host)
        try:
            spawned = sup.start()
            host.wait_for(
                lambda: f"{SERVICES + 1} services, {SERVICES * EACH + 1} containers" in sup.status()["text"], "all"
            )
            time.sleep(15)
            threads = len(list(Path(f"/proc/{spawned.pid}/task").iterdir()))
            between.calls.clear()
            before, began = cpu_seconds(spawned.pid), time.monotonic()
            time.sleep(SECONDS)
            lists = sum("/containers/json" in call for call in between.calls)
            used = (cpu_seconds(spawned.pid) - before) / (time.monotonic() - began)
            memory = resident_mib(spawned.pid)
        finally:
            sup.end()
        assert " started: " not in sup.log, sup.log
    print(
        f"\n{SERVICES * EACH} containers in {SERVICES} services: {used:.1%} of a core, {memory:.0f} MiB, {threads} threads"
    )
    print(f"  {lists} list calls in {SECONDS:g} s")
    assert lists <= SECONDS / PASS_SECONDS + 1
    assert used <= MOST_CPU
    assert memory <= MOST_MIB


def test_time_from_an_exit_to_the_start_of_its_replacement(images):
    """Each kill is on another service, so that no delay applies."""
    with TestHost() as host:
        sup = Supervised(host)
        names = [f"k{n}" for n in range(KILLS)]
        quick = {"env": {"BOOT": "0.05"}, "count": 2, "health": {"interval": "5s"}, "stop": {"grace": "1s"}}
        host.define(
            {name: merged(quick, {"nginx": None if n % 2 else {"drain": "2s"}}) for n, name in enumerate(names)}
        )
        ids = [word for name in names for word in ("--id", name)]
        host.conductor("service", "upgrade", *ids, "--revision", "r1", check=True, timeout=300)
        taken, created = {}, {}
        try:
            sup.start()
            time.sleep(6)
            for name in names:
                victim = sup.running(name)[0]
                host.daemon.api.kill(victim.id)
                host.wait_for(lambda name=name: sup.events.of("start", name), f"a start of {name}\n{sup.log}", 10)
                exited = sup.events.of("die", name)[0]
                taken[name] = sup.events.of("start", name)[0] - exited
                created[name] = sup.events.of("create", name)[0] - exited
                time.sleep(1.0)
            expected = re.compile(r"\S+: repair (started: .*|done)")
            odd = [line for line in sup.log.splitlines()[1:] if not expected.fullmatch(line)]
            own = statistics.median(by_hand(host) for _ in range(5))
        finally:
            sup.end()
    print("\n".join(odd))
    print("\nfrom an exit to the start of its replacement: " + ", ".join(f"{s:.2f}" for s in taken.values()))
    for kind, rest in (("through nginx", 0), ("without nginx", 1)):
        print(f"  {kind}: median {statistics.median([s for n, s in enumerate(taken.values()) if n % 2 == rest]):.2f} s")
    print(f"  its creation: median {statistics.median(created.values()):.2f} s; docker run alone takes {own:.2f} s")
    assert statistics.median(taken.values()) <= MEDIAN_SECONDS
    assert max(taken.values()) <= LONGEST_SECONDS


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


def test_a_host_start(images):
    """The same containers started by a plain loop of the same width, and by supervise, in turns."""
    plain, supervised = [], []
    with TestHost() as host, ThreadPoolExecutor(WIDTH) as pool:
        names = [f"s{n}" for n in range(SERVICES)]
        quick = {"env": {"BOOT": "0.05"}, "count": 1, "nginx": None, "health": {"interval": "5s"}}
        host.define(dict.fromkeys(names, quick))
        ids = [word for name in names for word in ("--id", name)]
        host.conductor("service", "upgrade", *ids, "--revision", "r1", check=True, timeout=300)
        for _ in range(ROUNDS):
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
    times = statistics.median(supervised) / statistics.median(plain)
    said = ", ".join(f"{s:.1f}" for s in supervised), ", ".join(f"{s:.1f}" for s in plain)
    print(f"\n{SERVICES} services healthy after a host start: {said[0]} s, a plain loop {said[1]} s: {times:.2f} times")
    assert times <= MOST_TIMES
