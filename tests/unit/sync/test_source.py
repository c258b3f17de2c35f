"""Addresses of stores, and what is made of their answers."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from conductor.errors import ConductorError, UsageError
from conductor.sync.consul import Consul
from conductor.sync.etcd import Etcd
from conductor.sync.source import Found, Servers, parse_address
from tests.support.stores import Consul as ConsulServer
from tests.support.stores import QuietServer


@pytest.mark.parametrize(
    ("url", "kind", "tls", "hosts", "key"),
    [
        ("etcd://a/k", "etcd", False, (("a", 2379),), "k"),
        ("etcd://a:1,b.example.com/conductor/web1", "etcd", False, (("a", 1), ("b.example.com", 2379)), "conductor/web1"),
        ("etcd+tls://[::1]:1/k", "etcd", True, (("::1", 1),), "k"),
        ("etcd://[::1]/k", "etcd", False, (("::1", 2379),), "k"),
        ("etcd://a//k", "etcd", False, (("a", 2379),), "/k"),
        ("consul://a/k", "consul", False, (("a", 8500),), "k"),
        ("consul+tls://a/k", "consul", True, (("a", 8501),), "k"),
        ("zookeeper://a,b/conductor/web1", "zookeeper", False, (("a", 2181), ("b", 2181)), "conductor/web1"),
    ],
)  # fmt: skip
def test_address(url: str, kind: str, tls: bool, hosts: tuple[tuple[str, int], ...], key: str) -> None:
    assert parse_address(url) == (url, kind, tls, hosts, key)


@pytest.mark.parametrize(
    "url",
    ["", "etcd:/a/k", "etcd://a", "etcd://a/", "etcd:///k", "http://a/k", "zookeeper+tls://a/k", "etcd://a/k?x", "etcd://a/k k",
     "etcd://u:p@a/k", "etcd://a,/k", "etcd://a/k%20"],
)  # fmt: skip
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(url)
    assert caught.value.sentence == f'cannot use "{url}": it is not the address of a key in a store'


class Canned:
    """Answers each request with the next of `answers`: a status, a body and X-Consul-Index."""

    def __init__(self) -> None:
        canned = self
        self.answers: list[tuple[int, bytes, str]] = []
        self.paths: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                canned.paths.append(self.path)
                self.rfile.read(int(self.headers["Content-Length"]))
                status, body, index = canned.answers.pop(0)
                self.send_response(status)
                self.send_header("X-Consul-Index", index)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 (its name is the library's)

            def log_message(self, *_: object) -> None:
                pass

        self.server = QuietServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"


@pytest.fixture
def canned() -> Iterator[Canned]:
    made = Canned()
    threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, b"<html>", "unexpected response; is this etcd 3.4 or later?"),
        (200, b'{"kvs": [{}]}', "unexpected response; is this etcd 3.4 or later?"),
        (200, b'{"header": {"cluster_id": "1"}}', "etcd has no such key"),
        (400, b'{"message": "etcdserver: user name is empty"}', "etcd: etcdserver: user name is empty"),
        (404, b"404 page not found", "unexpected response; is this etcd 3.4 or later?"),
        (503, b"", "HOST: HTTP status 503"),
    ],
)
def test_answers_of_etcd_without_a_value(canned: Canned, status: int, body: bytes, cause: str) -> None:
    canned.answers = [(status, body, "")]
    address = parse_address(f"etcd://{canned.host}/k")
    with pytest.raises(ConductorError) as caught:
        Etcd(address, "").read(None)
    assert caught.value.sentence == f"cannot read {address.url}: {cause.replace('HOST', canned.host)}"


def test_another_cluster_of_etcd_has_other_versions(canned: Canned) -> None:
    answer = b'{"header": {"cluster_id": "%d"}, "kvs": [{"mod_revision": "5", "value": "eA=="}]}'
    source = Etcd(parse_address(f"etcd://{canned.host}/k"), "")
    canned.answers = [(200, answer % cluster, "") for cluster in (1, 1, 2, 2)]
    assert source.read(None) == Found(b"x", "1/5")
    assert source.read("1/5") is None
    assert source.read("1/5") == Found(b"x", "2/5")


def test_a_rejected_token_of_etcd_is_replaced(canned: Canned) -> None:
    found = b'{"header": {"cluster_id": "1"}, "kvs": [{"mod_revision": "5"}]}'
    source = Etcd(parse_address(f"etcd://{canned.host}/k"), "me:secret")
    canned.answers = [(200, b'{"token": "t"}', ""), (401, b'{"message": "etcdserver: invalid auth token"}', "")]
    with pytest.raises(ConductorError) as caught:
        source.read(None)
    assert "secret" not in str(caught.value)
    canned.answers = [(200, b'{"token": "t"}', ""), (200, found, "")]
    assert source.read(None) == Found(b"", "1/5")
    assert canned.paths == ["/v3/auth/authenticate", "/v3/kv/range"] * 2


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (404, b"", "Consul has no such key"),
        (403, b"Permission denied", "Consul: HTTP status 403"),
        (200, b"{}", "unexpected response: not a Consul key"),
        (200, b"[]", "unexpected response: not a Consul key"),
        (200, b"<html>", "unexpected response: not a Consul key"),
        (500, b"No cluster leader", "HOST: HTTP status 500"),
    ],
)
def test_answers_of_consul_without_a_value(canned: Canned, status: int, body: bytes, cause: str) -> None:
    canned.answers = [(status, body, "1")]
    address = parse_address(f"consul://{canned.host}/k")
    with pytest.raises(ConductorError) as caught:
        Consul(address, "").read(None)
    assert caught.value.sentence == f"cannot read {address.url}: {cause.replace('HOST', canned.host)}"


def test_an_index_of_consul_that_goes_backwards_is_dropped(canned: Canned) -> None:
    """And so is one after a failed call, as the documentation of blocking queries requires."""
    body = b'[{"Value": "eA==", "ModifyIndex": 3}]'
    source = Consul(parse_address(f"consul://{canned.host}/k"), "")
    canned.answers = [(200, body, index) for index in ("9", "9", "4", "4")]
    canned.answers += [(404, b"", "5"), (200, body, "6")]
    found = [source.read(seen) for seen in (None, "3", "3", "3")]
    assert found == [Found(b"x", "3"), None, None, None]
    with pytest.raises(ConductorError):
        source.read("3")
    source.read("3")
    waiting = "/v1/kv/k?index={}&wait=10s"
    assert canned.paths == [
        "/v1/kv/k", waiting.format(9), waiting.format(9), "/v1/kv/k", waiting.format(4), "/v1/kv/k",
    ]  # fmt: skip


def test_a_value_arrives_while_consul_waits(tmp_path: Path) -> None:
    with ConsulServer(tmp_path / "files") as store:
        store.put(b"a")
        source = Consul(parse_address(store.url), "")
        assert source.read(None) == Found(b"a", "11")
        timer = threading.Timer(0.05, store.put, (b"b",))
        timer.start()
        assert source.read("11") == Found(b"b", "12")


def test_the_server_that_answered_is_asked_first(canned: Canned) -> None:
    servers = Servers(parse_address(f"consul://127.0.0.1:1,{canned.host}/k"))
    canned.answers = [(200, b"", "")] * 2
    assert [servers.request("GET", "/", {}).status for _ in range(2)] == [200, 200]
    assert [port for _, port in servers._hosts] == [canned.server.server_port, 1]
