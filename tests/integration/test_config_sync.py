"""`conductor config sync` from real etcd and ZooKeeper, and from a server that answers as Consul documents."""

import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.claims import Claims
from tests.support.commands import Spawned
from tests.support.stores import STORES, Consul, Etcd, Server

ARRIVAL_SECONDS = 8.0  # less than the time for which Consul waits, so it is the change that ended the wait
RESTART_SECONDS = 20.0
SERVICES = 1000
GOOD = b'{"version": 1, "services": {"web": {"image": "shop", "health": {"none": true}}}}\n'
OTHER = GOOD.replace(b"web", b"api")
HALF_WRITTEN = GOOD[:40]
# By default, what does not depend on the store is tried with one of them.
MOSTLY_ETCD = ["etcd", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("zookeeper", "consul"))]
mostly_etcd = pytest.mark.parametrize("store", MOSTLY_ETCD, indirect=True)


@pytest.fixture(scope="module", params=STORES)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with STORES[request.param](tmp_path_factory.mktemp("store") / "files") as made:
        yield made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "services.yml"


@pytest.fixture
def spawn(path: Path) -> Iterator[Callable[..., Spawned]]:
    """Start `config sync`; what still runs is killed after the test."""
    started: list[Spawned] = []

    def start(url: str, *words: str, **environment: str) -> Spawned:
        call = ("config", "sync", "--from", url, "--config", str(path), *words)
        started.append(Spawned(call, {**os.environ, **environment}, path.parent))
        return started[-1]

    yield start
    for one in started:
        one.end()


def until(condition: Callable[[], bool], seconds: float) -> float:
    """Return the seconds until the condition is met."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, condition
        time.sleep(0.01)
    return time.monotonic() - began


def test_once(store: Server, spawn: Callable[..., Spawned], path: Path) -> None:
    assert "no such" in spawn(store.url).wait().expect(1).stderr
    assert not path.exists()
    store.put(GOOD)
    assert spawn(store.url).wait().expect(0).stdout == f"wrote {path}: 1 service\n"
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (GOOD, 0o640)
    before = path.stat()
    assert spawn(store.url).wait().expect(0).stdout == f"{path} is up to date: 1 service\n"
    assert path.stat() == before


@mostly_etcd
def test_a_value_with_a_problem_is_not_written(store: Server, spawn: Callable[..., Spawned], path: Path) -> None:
    path.write_bytes(GOOD)
    store.put(HALF_WRITTEN)
    result = spawn(store.url).wait().expect(2)
    assert result.stderr.startswith(f"error: cannot use {store.url}: ")
    assert path.read_bytes() == GOOD
    assert sorted(one.suffix for one in path.parent.iterdir()) == [".err", ".out", ".yml"]


def test_changes_are_followed(store: Server, spawn: Callable[..., Spawned], path: Path) -> None:
    """Also one that follows a broken value, and one after the store was killed and has started again."""
    store.put(GOOD)
    following = spawn(store.url, "--watch")
    until(path.exists, 20)
    times = []
    for value in (OTHER, GOOD, OTHER):
        time.sleep(0.3)
        store.put(value)
        times.append(until(lambda value=value: path.read_bytes() == value, ARRIVAL_SECONDS))
    store.put(HALF_WRITTEN)
    until(lambda: "cannot use" in following.stderr, ARRIVAL_SECONDS)
    assert path.read_bytes() == OTHER
    store.put(GOOD)
    until(lambda: path.read_bytes() == GOOD, ARRIVAL_SECONDS)
    store.stop()
    until(lambda: "cannot read" in following.stderr, 20)
    assert path.read_bytes() == GOOD
    store.start()
    store.put(OTHER)
    times.append(until(lambda: path.read_bytes() == OTHER, RESTART_SECONDS))
    print(f"{store.kind}: arrived after {[round(one, 2) for one in times]} s, the last after a restart")
    until(lambda: "resolved: cannot read" in following.stderr, 20)
    following.signal(signal.SIGTERM)
    assert following.wait(5).code == -signal.SIGTERM
    # What is different about an error is a new problem: a connection that is closed is then refused.
    reported = [line for line in following.stderr.splitlines() if "cannot read" in line]
    assert all(one != later for one, later in itertools.pairwise(reported)), reported
    assert "Traceback" not in following.stderr


@mostly_etcd
def test_a_thousand_services(store: Server, spawn: Callable[..., Spawned], path: Path) -> None:
    web = {"image": "registry.example.com/shop/app", "port": 8080, "health": {"path": "/health"}, "nginx": {}}
    services = {f"shop_{number}": {**web, "env": {"NUMBER": str(number)}} for number in range(SERVICES)}
    value = json.dumps({"version": 1, "services": services}).encode()
    store.put(value)
    following = spawn(store.url, "--watch")
    until(path.exists, 30)
    assert path.read_bytes() == value
    changed = value.replace(b'"999"', b'"998"')
    store.put(changed)
    seconds = until(lambda: path.read_bytes() == changed, ARRIVAL_SECONDS)
    print(f"{store.kind}: {SERVICES} services, {len(value)} bytes: a change arrived after {seconds:.2f} s")
    assert f"{SERVICES} services" in following.stderr


@pytest.mark.parametrize("kind", MOSTLY_ETCD)
def test_a_store_that_is_down_changes_nothing(
    kind: str, spawn: Callable[..., Spawned], path: Path, tmp_path: Path, claims: Claims
) -> None:
    path.write_bytes(GOOD)
    url = f"{kind}://127.0.0.1:{claims.port()}/conductor/web1"
    result = spawn(url).wait(20).expect(1)
    assert result.stderr.startswith(f"error: cannot read {url}: ")
    assert path.read_bytes() == GOOD


@pytest.mark.parametrize("kind", MOSTLY_ETCD)
def test_credentials(kind: str, spawn: Callable[..., Spawned], path: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with STORES[kind](tmp_path / "files") as store:
        store.put(GOOD)
        store.require("reader", "hunter2")
        assert spawn(store.url).wait().expect(1).stdout == ""
        secret.write_text("reader:wrong\n")
        wrong = spawn(store.url, "--credentials", str(secret)).wait().expect(1)
        secret.write_text("reader:hunter2\n")
        spawn(store.url, "--credentials", str(secret)).wait().expect(0)
    assert path.read_bytes() == GOOD
    assert "wrong" not in wrong.stderr


def test_the_certificate_of_etcd_is_verified(spawn: Callable[..., Spawned], path: Path, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=store"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    with Etcd(tmp_path / "files", certificate, key) as store:
        store.put(GOOD)
        url = store.url.replace("etcd:", "etcd+tls:")
        assert "certificate" in spawn(url).wait().expect(1).stderr
        assert not path.exists()
        spawn(url, SSL_CERT_FILE=str(certificate)).wait().expect(0)
    assert path.read_bytes() == GOOD


@pytest.mark.parametrize("kind", MOSTLY_ETCD)
def test_another_server_answers(
    kind: str, spawn: Callable[..., Spawned], path: Path, tmp_path: Path, claims: Claims
) -> None:
    with STORES[kind](tmp_path / "files") as store:
        store.put(GOOD)
        spawn(store.url.replace("://", f"://127.0.0.1:{claims.port()},")).wait().expect(0)
    assert path.read_bytes() == GOOD


def test_consul_is_asked_once_and_then_waited_for(spawn: Callable[..., Spawned], path: Path, tmp_path: Path) -> None:
    """The index that it returned goes back to it, as for any blocking query."""
    with Consul(tmp_path / "files") as store:
        store.put(GOOD)
        spawn(store.url, "--watch")
        until(lambda: len(store.queries) > 1, 20)
        time.sleep(2)
        assert store.queries == ["", "index=11&wait=10s"]
