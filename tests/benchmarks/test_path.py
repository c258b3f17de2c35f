"""Throughput and latency of the ways to an app, against a bare nginx in front of it, in turns.

The ways: the container's IP, a published port, and the upstreams of both cutovers, with the announce test and without.
"""

import re
import subprocess
from contextlib import ExitStack
from typing import NamedTuple

from tests.benchmarks.figures import Figures
from tests.support.host import TestHost
from tests.support.images import APP
from tests.support.own_server import HEADERS, UPSTREAM_ONLY, own_server

ROUNDS, SECONDS, CONNECTIONS = 9, 1, 32
BARE = "a bare nginx"


class Load(NamedTuple):
    """What `wrk` measured: requests per second, and percentiles of the latency in ms."""

    rate: float
    p50: float
    p99: float


def load(url: str) -> Load:
    words = ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", url]
    done = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in done, done
    rate = re.search(r"Requests/sec: +([\d.]+)", done)
    percentiles = re.findall(r"^ +(?:50|99)% +([\d.]+)(us|ms|s)$", done, re.MULTILINE)
    assert rate, done
    return Load(float(rate[1]), *(float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit] for value, unit in percentiles))


def serve(host: TestHost, port: int, upstream: str) -> str:
    """Add a server of the operator without the announce test; return its URL."""
    text = f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{upstream}$request_uri; {HEADERS} }} }}"
    host.nginx.add_server(f"plain{port}", text)
    return f"http://127.0.0.1:{port}/"


def test_throughput_and_latency(images: None, figures: Figures) -> None:
    urls: dict[str, str] = {}
    with ExitStack() as stack:
        for cutover in ("reload", "live"):
            host = stack.enter_context(TestHost(cutover=cutover))
            host.define({"web": {**UPSTREAM_ONLY, "count": 1}})
            host.upgrade("r1", check=True)
            host.nginx.add_server("web", own_server(host))
            urls[f"{cutover} upstream, with the announce test"] = host.url()
            urls[f"{cutover} upstream, without the announce test"] = serve(host, host.port("plain"), "web")
            reload(host)
        (app,) = host.containers("web")
        urls["container IP"] = f"http://{app.address}:8080/"
        urls["published port"] = f"http://127.0.0.1:{host.port('published')}/"
        publish = ["docker", "run", "-d", "-p", f"127.0.0.1:{host.port('published')}:8080", "--network", host.network]
        label = f"conductor.instance={host.instance}"
        subprocess.run([*publish, "--label", label, f"{APP}:r1"], check=True, capture_output=True)
        bare = stack.enter_context(TestHost())
        keep = "max_fails=0; keepalive 64; keepalive_timeout 1s;"
        bare.nginx.add_server("app", f"upstream app {{ server {app.address}:8080 {keep} }}")
        urls[BARE] = serve(bare, bare.port(), "app")
        reload(bare)
        for url in urls.values():
            host.wait_for(lambda url=url: answers(url), url)
        found: dict[str, list[Load]] = {way: [] for way in urls}
        for number in range(figures.number(ROUNDS, 0)):
            figures.look()
            for way in list(urls) if number % 2 else list(urls)[::-1]:
                found[way].append(load(urls[way]))
    floors = found.pop(BARE)
    for way, loads in found.items():
        figures.ratio(
            f"requests per second, {way}",
            [(one.rate, floor.rate) for one, floor in zip(loads, floors, strict=True)],
            of=BARE,
            unit="requests/s",
        )
        figures.ratio(
            f"median latency, {way}",
            [(one.p50, floor.p50) for one, floor in zip(loads, floors, strict=True)],
            of=BARE,
            unit="ms",
            p99_ms=[one.p99 for one in loads],
            floor_p99_ms=[floor.p99 for floor in floors],
        )


def reload(host: TestHost) -> None:
    before = host.nginx.workers()
    host.nginx.reload()
    host.wait_for(lambda: before.isdisjoint(host.nginx.workers()), "the reload")


def answers(url: str) -> bool:
    return subprocess.run(["curl", "-fs", "-o", "/dev/null", url], check=False).returncode == 0
