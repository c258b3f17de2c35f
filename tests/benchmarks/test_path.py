"""Throughput and latency of the ways to an app, against a bare nginx in front of it, in turns.

The ways: the container's IP, a published port, and the upstreams of both cutovers, with the announce test and without.
The client has a core of its own, and everything else shares another one: where the kernel would put the processes changed
ratios by a third from run to run.
"""

import os
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.figures import Figures
from tests.support.host import TestHost
from tests.support.images import APP
from tests.support.own_server import HEADERS, UPSTREAM_ONLY, own_server

STARTS, ROUNDS, SECONDS, CONNECTIONS = 3, 4, 1, 32
BARE = "a bare nginx"
CORES = sorted(os.sched_getaffinity(0))
CLIENT, SERVERS = CORES[0], CORES[-1]


class Load(NamedTuple):
    """What `wrk` measured: requests per second, and percentiles of the latency in ms."""

    rate: float
    p50: float
    p99: float


def load(url: str) -> Load:
    words = ["taskset", "-c", str(CLIENT), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", url]
    done = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in done, done
    rate = re.search(r"Requests/sec: +([\d.]+)", done)
    percentiles = re.findall(r"^ +(?:50|99)% +([\d.]+)(us|ms|s)$", done, re.MULTILINE)
    assert rate, done
    return Load(float(rate[1]), *(float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit] for value, unit in percentiles))


def pin(pid: int) -> None:
    """Let a process, and those that it starts from now on, run on the servers' core only."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {SERVERS})


def pin_container(container: str) -> None:
    words = ["docker", "inspect", "--format", "{{.State.Pid}}", container]
    pin(int(subprocess.run(words, capture_output=True, text=True, check=True).stdout))


def proxy_of(port: int) -> int:
    """Return the pid of the process of Docker that passes on what arrives at a published port."""
    commands = {int(path.parent.name): path.read_text() for path in Path("/proc").glob("[0-9]*/cmdline")}
    (found,) = (pid for pid, words in commands.items() if f"\0-host-port\0{port}\0" in words)
    return found


class Way(NamedTuple):
    """A URL of an app, and of a bare nginx in front of the same container."""

    name: str
    url: str
    floor: str


def serve(host: TestHost, port: int, upstream: str) -> str:
    """Add a server of the operator without the announce test; return its URL."""
    text = f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{upstream}$request_uri; {HEADERS} }} }}"
    host.nginx.add_server(f"plain{port}", text)
    return f"http://127.0.0.1:{port}/"


def ways(stack: ExitStack) -> list[Way]:
    """Start the apps and everything that is measured in front of them, until the end of `stack`."""
    found: list[Way] = []
    bare = stack.enter_context(TestHost())
    for cutover in ("reload", "live"):
        host = stack.enter_context(TestHost(cutover=cutover))
        host.define({"web": {**UPSTREAM_ONLY, "count": 1}})
        host.upgrade("r1", check=True)
        host.nginx.add_server("web", own_server(host))
        plain = serve(host, host.port("plain"), "web")
        reload(host)
        (app,) = host.containers("web")
        pin_container(app.id)
        keep = "max_fails=0; keepalive 64; keepalive_timeout 1s;"
        bare.nginx.add_server(cutover, f"upstream {cutover} {{ server {app.address}:8080 {keep} }}")
        floor = serve(bare, bare.port(cutover), cutover)
        found.append(Way(f"{cutover} upstream, with the announce test", host.url(), floor))
        found.append(Way(f"{cutover} upstream, without the announce test", plain, floor))
    found.append(Way("container IP", f"http://{app.address}:8080/", floor))
    published = host.port("published")
    publish = ["docker", "run", "-d", "-p", f"127.0.0.1:{published}:8080", "--network", host.network]
    label = f"conductor.instance={host.instance}"
    words = [*publish, "--label", label, f"{APP}:r1"]
    pin_container(subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip())
    pin(proxy_of(published))
    found.append(Way("published port", f"http://127.0.0.1:{published}/", floor))
    reload(bare)
    for way in found:
        for url in (way.url, way.floor):
            host.wait_for(lambda url=url: answers(url), url)
    return found


def test_throughput_and_latency(images: None, figures: Figures) -> None:
    found: dict[str, list[tuple[Load, Load]]] = {}
    for _ in range(figures.number(STARTS, 0)):  # where the kernel puts the processes lasts as long as they do
        with ExitStack() as stack:
            measured = ways(stack)
            for number in range(ROUNDS):
                figures.look()
                for way in measured if number % 2 else measured[::-1]:
                    ours, floor = (
                        (load(way.url), load(way.floor)) if number % 2 else (load(way.floor), load(way.url))[::-1]
                    )
                    found.setdefault(way.name, []).append((ours, floor))
    for name, loads in found.items():
        figures.ratio(
            f"requests per second, {name}",
            [(ours.rate, floor.rate) for ours, floor in loads],
            of=BARE,
            unit="requests/s",
        )
        figures.ratio(
            f"median latency, {name}",
            [(ours.p50, floor.p50) for ours, floor in loads],
            of=BARE,
            unit="ms",
            p99_ms=[ours.p99 for ours, _ in loads],
            floor_p99_ms=[floor.p99 for _, floor in loads],
        )


def reload(host: TestHost) -> None:
    """Reload nginx; its new workers run on the servers' core."""
    pin(host.nginx.pid)
    before = host.nginx.workers()
    host.nginx.reload()
    host.wait_for(lambda: before.isdisjoint(host.nginx.workers()), "the reload")


def answers(url: str) -> bool:
    return subprocess.run(["curl", "-fs", "-o", "/dev/null", url], check=False).returncode == 0
