"""Live upstreams against a plain upstream and against reloads, in turns, in one run."""

import contextlib
import os
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.definitions.model import Definition, Nginx, Server, Service
from conductor.plan.route import Route
from conductor.traffic.peers import Peers, encoded
from tests.benchmarks.figures import Figures
from tests.benchmarks.timing import median, process_seconds, seconds_of
from tests.support.claims import Claims
from tests.support.host import TestHost
from tests.support.load import Load
from tests.support.nginx import PrivateNginx
from tests.support.nginx_host import NginxHost

ROUNDS = 15
PAIRS, SECONDS = 15, 1  # short, so that the machine is the same for both of a pair
ANNOUNCE_SECONDS = 0.5
IDLE_SECONDS = 2.0
POLITE = {"web": {"env": {"POLITE": "1"}}}


@pytest.fixture
def live(images: None) -> Iterator[TestHost]:
    with TestHost(cutover="live") as made:
        yield made


def requests_per_second(url: str, nginx: PrivateNginx) -> tuple[float, float]:
    """Return what two `wrk` threads with 32 connections reach, in a second of time and in one of CPU time with nginx's."""
    words = ["wrk", "-t2", "-c32", f"-d{SECONDS}s", url]
    before = cpu_seconds(nginx)
    done = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    used = cpu_seconds(nginx) - before
    assert "Non-2xx" not in done, done
    requests, rate = (re.search(pattern, done) for pattern in (r"(\d+) requests in", r"Requests/sec: +([\d.]+)"))
    assert requests
    assert rate
    return float(rate[1]), int(requests[1]) / used


def cpu_seconds(nginx: PrivateNginx) -> float:
    """Return the CPU time of nginx's workers, and of the processes that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    workers = (Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in nginx.workers())
    return ended.ru_utime + ended.ru_stime + sum(map(int, workers)) / 1e9


@pytest.mark.short
def test_throughput_against_a_plain_upstream(live: TestHost, figures: Figures) -> None:
    """Both upstreams lead to the same server of the same nginx, which answers at once, with the same keep-alive."""
    live.define({})
    live.conductor("nginx", "install", check=True)
    backend, plain, fast = (live.claims.port() for _ in range(3))
    include = live.nginx.include_dir
    locations = 'location / {{ proxy_pass http://{name}; proxy_http_version 1.1; proxy_set_header Connection ""; }}'
    balance = (
        f'local live = package.loaded["conductor.live"] or dofile("{include}/conductor.lua") '
        f"live.balance('bench', '{encoded(Peers('bench', 1, (f'127.0.0.1:{backend}',)))}')"
    )
    live.nginx.add_server(
        "bench",
        f"server {{ listen 127.0.0.1:{backend} backlog=4096; keepalive_requests 1000000; return 200 ok; }}\n"
        f"upstream plain {{ server 127.0.0.1:{backend} max_fails=0; keepalive 64; keepalive_timeout 1s; }}\n"
        f"upstream bench {{ server 127.0.0.1:{backend}; balancer_by_lua_block {{ {balance} }} keepalive 64; "
        "keepalive_timeout 1s; }\n"
        f"server {{ listen 127.0.0.1:{plain}; {locations.format(name='plain')} }}\n"
        f"server {{ listen 127.0.0.1:{fast}; {locations.format(name='bench')} }}\n",
    )
    before = live.nginx.workers()
    live.nginx.reload()
    live.wait_for(lambda: before.isdisjoint(live.nginx.workers()), "the reload")
    found: dict[int, list[tuple[float, float]]] = {plain: [], fast: []}
    for number in range(figures.number(PAIRS, 5)):
        figures.look()
        for port in (plain, fast) if number % 2 else (fast, plain):
            found[port].append(requests_per_second(f"http://127.0.0.1:{port}/", live.nginx))
    in_time, by_cpu = (
        [(one[kind], other[kind]) for one, other in zip(found[fast], found[plain], strict=True)] for kind in (0, 1)
    )
    if not figures.short:  # other programs disturb it most
        figures.ratio("live, requests per second", in_time, of="a plain upstream", unit="requests/s")
    figures.ratio("live, requests per second of CPU time", by_cpu, of="a plain upstream", unit="requests/s")


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"conductor-test-{os.getpid()}-") as name:
        Path(name).chmod(0o755)  # nginx's workers are another user
        yield Path(name)


def test_latency_around_a_cutover(directory: Path, figures: Figures) -> None:
    """The 99th percentile of the second around each of 10 cutovers, against that of the second before, without containers."""
    claims = Claims()
    made = NginxHost(directory, claims, "live")
    ports = [claims.port() for _ in range(3)]
    for number in (0, 1):
        made.nginx.add_server(f"backend{number}", f"server {{ listen 127.0.0.1:{ports[number]}; return 200 ok; }}")
    ends = [f"127.0.0.1:{port}" for port in ports[:2]]
    server = Server(listen=(f"127.0.0.1:{ports[2]}",), names=("localhost",))
    service = Service(image="app", port=80, nginx=Nginx(upstream="web", server=server))
    definition = Definition(id="web", service=service, written={}, digest="d")
    around, steady, seconds = [], [], []
    with made.nginx:
        traffic = made.traffic()
        traffic.switch([Route(definition, (ends[0],))], lambda _cutover: None)
        for number in range(figures.number(10, 0)):
            for found, switches in ((steady, False), (around, True)):
                with Load(f"http://127.0.0.1:{ports[2]}/", busy=10, idle=0) as load:
                    load.run_for(0.5)
                    began = time.monotonic()
                    if switches:
                        traffic.switch([Route(definition, (ends[(number + 1) % 2],))], lambda _cutover: None)
                        seconds.append(time.monotonic() - began)
                    load.run_for(0.5 - (time.monotonic() - began))
                    result = load.stop()
                    assert result.lost == 0
                    found.append(result.p99)
    claims.release()
    figures.ratio(
        "live, p99 around a cutover", list(zip(around, steady, strict=True)), of="steady", cutover=median(seconds)
    )


def test_an_upgrade_against_one_by_reload(images: None, figures: Figures) -> None:
    """Under load with clients that idle for longer than the announcement, which would otherwise end early.

    The floor of live's cutover and drain is one check of nginx's configuration, which it includes.
    """
    hosts: dict[str, TestHost] = {}
    found: dict[str, list[float]] = {"reload": [], "live": []}
    checks = []
    with contextlib.ExitStack() as stack:
        for way in found:
            hosts[way] = stack.enter_context(TestHost(cutover=way))
            hosts[way].define(POLITE)
            hosts[way].upgrade("r3", check=True)
            stack.enter_context(Load(hosts[way].url(), busy=5, idle=5, idle_seconds=IDLE_SECONDS))
        nginx = hosts["live"].nginx
        for number in range(figures.number(ROUNDS, 0)):
            for way in list(found) if number % 2 else list(found)[::-1]:
                words = ("upgrade", "--revision", f"r{number % 2 + 1}")
                found[way].append(seconds_of(hosts[way], *words))
            checks.append(process_seconds(nginx.binary, "-t", "-q", "-e", nginx.error_log, "-c", nginx.config))
        steps = {way: [line["steps"] for line in host.history()[-len(checks) :]] for way, host in hosts.items()}
    saved = [reload - live for live, reload in zip(found["live"], found["reload"], strict=True)]
    figures.ratio(
        "live, time saved per upgrade",
        [(one, ANNOUNCE_SECONDS) for one in saved],
        of="the announcement of a reload",
        live=median(found["live"]),
        reload=median(found["reload"]),
        steps={way: {step: median([one[step] for one in found]) for step in found[0]} for way, found in steps.items()},
    )
    parts = [one["cutover"] + one["drain"] for one in steps["live"]]
    figures.ratio("live, cutover and drain", list(zip(parts, checks, strict=True)), of="one nginx -t")
