"""nginx does what the fake traffic layer of the unit tests does, in both ways; by reload it recovers a killed switch."""

import collections
import contextlib
import html
import http.server
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conductor.definitions.model import Definition, Nginx, Server, Service, Tls
from conductor.definitions.scalars import ByteSize, Period
from conductor.errors import ConductorError, Interrupted
from conductor.http import Connection, own_address
from conductor.plan.release import Maintenance
from conductor.plan.route import Cutover, Route
from conductor.traffic.port import Drained, Installed, TrafficRefused, TrafficUnavailable
from conductor.traffic.reload.reached import PATH
from tests.fakes.fleet import fleet_traffic
from tests.fakes.runtime import FakeCancellation
from tests.fakes.traffic_contract import (
    BEHAVIOURS,
    SERVICES,
    Case,
    a_switch_is_recorded_before_it_and_after_it,
    maintained,
)
from tests.support.claims import Claims
from tests.support.nginx_host import NginxHost


@pytest.mark.parametrize("cutover", ["reload", "live"])
@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
def test_contract(case: Case, behaviour: Callable[[Case], None]) -> None:
    behaviour(case)


# The old workers may have exited by the time that the last edge has confirmed the switch.
OF_AN_EDGE = [one for one in BEHAVIOURS if one is not a_switch_is_recorded_before_it_and_after_it]


@pytest.mark.parametrize("cutover", ["reload", "live"])
@pytest.mark.parametrize("behaviour", OF_AN_EDGE, ids=lambda behaviour: behaviour.__name__)
def test_contract_of_an_edge(case: Case, behaviour: Callable[[Case], None], tmp_path: Path) -> None:
    """A fleet of one edge, whose process is another one at each step."""
    behaviour(case._replace(traffic=fleet_traffic([case.traffic], SERVICES, tmp_path, restarts=True)))


def test_a_switch_to_the_same_routes_does_not_reload_nginx(case: Case, on_nginx: NginxHost) -> None:
    case.switch(case.route("web", case.endpoints[0]))
    before = workers(on_nginx)
    case.switch(case.route("web", case.endpoints[0]))
    assert workers(on_nginx) == before


@pytest.fixture
def killed(case: Case, on_nginx: NginxHost) -> list[Cutover]:
    """A switch of `web` from the first to the second endpoint that ended between the files and the reload."""
    one, two, *_ = case.endpoints
    case.switch(case.route("web", one))
    records: list[Cutover] = []
    with pytest.raises(Interrupted):
        on_nginx.traffic(FakeCancellation(stop_at=1)).switch([case.route("web", two)], records.append)
    assert len(records) == 1
    assert not case.traffic.serves([case.route("web", one)])
    assert not case.traffic.serves([case.route("web", two)])
    assert case.traffic.known() >= {one, two}
    return records


def test_files_that_a_killed_process_left_unloaded_are_loaded(case: Case, killed: list[Cutover]) -> None:
    case.traffic.load()
    two = case.endpoints[1]
    assert case.traffic.serves([case.route("web", two)])
    assert case.traffic.serving("web") == {two}


def test_a_killed_switch_is_undone_by_another_process(case: Case, killed: list[Cutover], on_nginx: NginxHost) -> None:
    on_nginx.traffic().undo(killed[0], SERVICES, lambda _cutover: None)
    one = case.endpoints[0]
    assert case.traffic.serves([case.route("web", one)])
    assert case.traffic.serving("web") == {one}


def test_a_killed_switch_is_finished_by_the_next_one(case: Case, killed: list[Cutover]) -> None:
    one, two, *_ = case.endpoints
    last = case.switch(case.route("web", two))[-1]
    assert case.traffic.serves([case.route("web", two)])
    assert case.drain(last, one) == Drained()
    assert case.traffic.known() == {two}


def test_a_configuration_that_nginx_refuses_changes_nothing(case: Case, on_nginx: NginxHost) -> None:
    one, two, *_ = case.endpoints
    case.switch(case.route("web", one))
    bad = on_nginx.nginx.include_dir / "theirs.conf"
    bad.write_text("nonsense;\n")
    records: list[Cutover] = []
    for call in (
        lambda: case.traffic.check([case.route("web", two)]),
        lambda: case.traffic.switch([case.route("web", two)], records.append),
        lambda: case.traffic.install([case.route("web", two)], {"web"}),
    ):
        with pytest.raises(TrafficRefused) as refused:
            call()
        assert any("theirs.conf:1" in line for line in refused.value.details)
    bad.unlink()
    assert records == []
    assert case.traffic.serves([case.route("web", one)])


def test_a_switch_that_cannot_be_proven_is_undone(case: Case, on_nginx: NginxHost) -> None:
    """Another program uses the port of `api`, so nginx keeps its old workers."""
    one, two, three, _ = case.endpoints
    case.switch(case.route("web", one))
    records: list[Cutover] = []
    with socket.create_server(("127.0.0.1", case.ports["api"])), pytest.raises(ConductorError) as failed:
        case.traffic.switch([case.route("web", two), case.route("api", three)], records.append)
    assert any(str(case.ports["api"]) in line for line in failed.value.details)
    assert len(records) == 1
    assert not case.traffic.serves([case.route("web", one)])
    assert case.traffic.known() == {one, two, three}
    case.undo(records[0])
    assert case.traffic.serves([case.route("web", one)])
    assert case.traffic.serving("api") == frozenset()
    workers(on_nginx)
    assert case.traffic.known() == {one}


def test_workers_of_a_reload_by_another_program_keep_their_endpoints_reserved(case: Case, on_nginx: NginxHost) -> None:
    """The reload begins between Conductor's look at the workers and its own reload: its workers know the old endpoint too."""
    one, two, *_ = case.endpoints
    case.switch(case.route("web", one))
    records: list[Cutover] = []
    with contextlib.ExitStack() as stack:

        def record(cutover: Cutover) -> None:
            if not records:
                before = workers(on_nginx)
                os.kill(on_nginx.nginx.pid, signal.SIGHUP)
                until = time.monotonic() + 10
                while not before.isdisjoint(on_nginx.nginx.workers()):
                    assert time.monotonic() < until
                    time.sleep(0.01)
                stack.enter_context(case.request("web", one))
            records.append(cutover)

        case.traffic.switch([case.route("web", two)], record)
        assert case.drain(records[-1], one, seconds=0.1) == Drained(cut=1)
        assert case.traffic.known() == {one, two}
    workers(on_nginx)
    assert case.traffic.known() == {two}


def test_a_cutover_of_another_implementation_is_refused(case: Case) -> None:
    with pytest.raises(ConductorError):
        case.undo(Cutover(implementation="fake", state={}))


def workers(on_nginx: NginxHost) -> set[int]:
    """Return the workers once those from before the last reload have exited."""
    until = time.monotonic() + 10
    while len(found := on_nginx.nginx.workers()) > 2:
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def test_a_name_that_another_server_block_has_too(case: Case, on_nginx: NginxHost) -> None:
    """nginx warns, exits with 0, and sends its requests to one of the two."""
    port = case.ports["web"]
    on_nginx.nginx.add_server(
        "theirs", f"server {{ listen 127.0.0.1:{port}; server_name localhost other; return 204; }}"
    )
    [warning] = case.traffic.check([case.route("web", case.endpoints[0]), case.route("api", case.endpoints[1])])
    for word in ("localhost", str(port), "web"):
        assert word in warning
    on_nginx.nginx.add_server("theirs", f"server {{ listen 127.0.0.1:{port}; server_name other; return 204; }}")
    assert case.traffic.check([case.route("web", case.endpoints[0])]) == ()


def served(case: Case, *listen: str, names: tuple[str, ...] = ("localhost",), **server: Any) -> list[tuple[str, bool]]:
    """Switch `web` to a server block; return the names that are not reached, and whether everything is lost."""
    nginx = Nginx(upstream="web", server=Server(listen=listen, names=names, **server))
    service = Service(image="app", port=80, nginx=nginx)
    route = Route(Definition(id="web", service=service, written={}, digest="d"), case.endpoints[:1])
    return [(one.name, one.everything) for one in case.traffic.switch([route], lambda _cutover: None)]


def foreign(on_nginx: NginxHost, name: str, text: str) -> None:
    """Add a server block that nginx reads before those of Conductor."""
    (on_nginx.nginx.include_dir / name).write_text(f"server {{ {text} }}\n")


@pytest.mark.parametrize(
    "answer", ["return 204;", "location / { return 404; }", "location / { return 200 $http_host; }"]
)
def test_requests_that_another_server_block_answers(case: Case, on_nginx: NginxHost, answer: str) -> None:
    listen = f"127.0.0.1:{case.ports['web']}"
    assert served(case, listen) == []
    foreign(on_nginx, "a.conf", f"listen {listen}; server_name localhost; {answer}")
    assert served(case, listen, names=("localhost", "other")) == [("localhost", False)]
    assert served(case, listen) == [("localhost", True)]
    (on_nginx.nginx.include_dir / "a.conf").rename(on_nginx.nginx.include_dir / "z.conf")  # now ours comes first
    assert served(case, listen, names=("localhost",), body_limit=ByteSize(1)) == []


def test_requests_on_an_address_where_another_server_block_listens_by_itself(case: Case, on_nginx: NginxHost) -> None:
    """nginx sees no conflict here, so this is only a warning; on every other address the service is reached."""
    port = case.ports["web"]
    foreign(on_nginx, "a.conf", f"listen 127.0.0.1:{port}; server_name status; return 204;")
    assert served(case, str(port)) == []
    foreign(on_nginx, "b.conf", f"listen {own_address()}:{port}; return 204;")
    assert served(case, str(port), body_limit=ByteSize(1)) == [("localhost", False)]


@pytest.fixture
def certificate(tmp_path: Path) -> Tls:
    made, key = tmp_path / "a.pem", tmp_path / "a.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        [*words, "-subj", "/CN=a.example", "-keyout", str(key), "-out", str(made)], check=True, capture_output=True
    )
    return Tls(certificate=str(made), key=str(key))


def test_requests_with_tls(case: Case, on_nginx: NginxHost, certificate: Tls) -> None:
    listen = f"127.0.0.1:{case.ports['web']} ssl"
    assert served(case, listen, names=("a.example", "*.b.example"), tls=certificate) == []
    pair = f"ssl_certificate {certificate.certificate}; ssl_certificate_key {certificate.key};"
    foreign(on_nginx, "a.conf", f"listen {listen}; server_name *.b.example; {pair} return 204;")
    assert served(case, listen, names=("a.example", "*.b.example"), tls=certificate) == [("*.b.example", False)]
    on_nginx.nginx.add_server("clients", f"ssl_verify_client on; ssl_client_certificate {certificate.certificate};")
    assert served(case, listen, names=("*.b.example",), tls=certificate) == []  # no answer without a certificate


def test_what_cannot_be_asked_proves_nothing(case: Case, on_nginx: NginxHost) -> None:
    sock = on_nginx.nginx.directory / "web.sock"
    foreign(on_nginx, "a.conf", f"listen unix:{sock}; server_name localhost; return 204;")
    assert served(case, f"unix:{sock}") == []
    port = case.ports["web"]
    foreign(on_nginx, "a.conf", f"listen 127.0.0.1:{port} proxy_protocol; server_name localhost; return 204;")
    assert served(case, f"127.0.0.1:{port}") == []


def test_the_location_that_conductor_asks_answers_nobody_else(case: Case) -> None:
    port = case.ports["web"]
    assert served(case, f"127.0.0.1:{port}") == []
    for headers in ({}, {"Conductor-Generation": "0123456789abcdef"}):
        with Connection(("127.0.0.1", port), 5) as connection:
            assert connection.request("GET", PATH, {"Host": "localhost", **headers}) == 404
            assert not re.search(rb"[0-9a-f]{16}", connection.body())


def test_an_upstream_without_a_server_block_that_passes_requests_to_it(case: Case, on_nginx: NginxHost) -> None:
    """nginx accepts an unknown name in front of a variable, and answers 502."""
    service = Service(image="app", port=80, nginx=Nginx(upstream="web"))
    route = Route(Definition(id="web", service=service, written={}, digest="d"), case.endpoints[:1])
    [warning] = case.traffic.check([route, case.route("api", case.endpoints[1])])
    assert "no server block passes requests to the upstream web" in warning
    block = f"server {{ listen 127.0.0.1:{case.ports['web']}; location / {{ proxy_pass http://wbe$request_uri; }} }}"
    path = on_nginx.nginx.add_server("own", block)
    assert on_nginx.nginx.test().returncode == 0
    case.traffic.install([route], {"web"})
    assert case.traffic.notices([route]) == case.traffic.check([route])
    assert f"{path} passes requests to wbe, which is not an upstream" in case.traffic.check([route])[0]
    path.write_text(block.replace("wbe", "web"))
    assert case.traffic.check([route]) == case.traffic.notices([route]) == ()


def test_the_upstream_of_a_removed_service_stays_while_a_server_block_passes_requests_to_it(
    case: Case, on_nginx: NginxHost
) -> None:
    """nginx would accept its removal: it looks up a name in front of a variable at each request."""
    service = Service(image="app", port=80, nginx=Nginx(upstream="web"))
    case.traffic.install([Route(Definition(id="web", service=service, written={}, digest="d"), ())], {"web"})
    block = f"server {{ listen 127.0.0.1:{case.ports['web']}; location / {{ proxy_pass http://Web$request_uri; }} }}"
    path = on_nginx.nginx.add_server("own", block)
    own = on_nginx.nginx.include_dir / "web.conf"
    case.traffic.install([], ())
    assert own.exists()
    path.unlink()
    case.traffic.install([], ())
    assert not own.exists()


def test_an_install_loads_what_the_operator_has_changed(case: Case, on_nginx: NginxHost) -> None:
    """A file that is new, written again, or removed, and a file that a link leads to; but nothing twice."""

    def installed() -> tuple[str, ...]:
        result = case.traffic.install([case.route("web", case.endpoints[0])], {"web"})
        assert case.traffic.install([case.route("web", case.endpoints[0])], {"web"}) == Installed()
        return result.loaded

    def status() -> int:
        with Connection(("127.0.0.1", case.ports["api"]), 5) as connection:
            return connection.request("GET", "/", {"Host": "localhost"})

    assert installed() == ()
    block = f"server {{ listen 127.0.0.1:{case.ports['api']}; return 204; }}\n"
    path = on_nginx.nginx.add_server("own", block)
    assert str(path) in installed()
    assert status() == 204
    path.write_text(block.replace("204", "404"))
    assert installed() == (str(path),)
    assert status() == 404
    elsewhere = on_nginx.nginx.directory / "available.conf"
    elsewhere.write_text(block.replace("204", "403"))
    path.unlink()
    path.symlink_to(elsewhere)
    assert str(path) in installed()
    assert status() == 403
    path.unlink()
    assert installed() == (str(path.parent),)
    with pytest.raises(ConnectionRefusedError):
        status()


def test_an_old_worker_and_a_new_one_do_not_hide_a_change(case: Case, on_nginx: NginxHost) -> None:
    """An old worker finishes a request; a worker that nginx starts again has the configuration from before the change."""
    one = case.endpoints[0]
    case.traffic.install([case.route("web", one)], {"web"})
    with case.request("web", one):
        case.switch(case.route("web", case.endpoints[1]))
        assert case.traffic.install([case.route("web", case.endpoints[1])], {"web"}) == Installed()
    workers(on_nginx)
    path = on_nginx.nginx.add_server("own", f"server {{ listen 127.0.0.1:{case.ports['api']}; return 204; }}\n")
    time.sleep(0.2)
    before = on_nginx.nginx.workers()
    os.kill(min(before), signal.SIGKILL)
    until = time.monotonic() + 10
    while len(now := on_nginx.nginx.workers()) < 2 or now == before:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert str(path) in case.traffic.install([case.route("web", case.endpoints[1])], {"web"}).loaded


def test_a_link_to_a_missing_file_is_refused_as_nginx_will(case: Case, on_nginx: NginxHost) -> None:
    link = on_nginx.nginx.include_dir / "zz.conf"
    link.symlink_to("nowhere")
    with pytest.raises(TrafficRefused) as refused:
        case.traffic.check([case.route("web", case.endpoints[0])])
    assert str(link) in refused.value.sentence
    (on_nginx.nginx.include_dir / "nowhere").write_text("# relative to the directory\n")
    case.switch(case.route("web", case.endpoints[0]))
    assert link.is_symlink()


@pytest.mark.parametrize("already_installed", [False, True])
def test_a_shutdown_timeout_of_the_operator(case: Case, on_nginx: NginxHost, already_installed: bool) -> None:
    drop_in = on_nginx.nginx.modules_dir / "90-conductor.conf"
    if already_installed:
        case.traffic.install([], ())
        assert "worker_shutdown_timeout" in drop_in.read_text()
    assert case.traffic.notices([]) == ()
    config = on_nginx.nginx.config
    config.write_text(f"worker_shutdown_timeout 60s; {config.read_text()}")
    case.traffic.install([], ())
    assert drop_in.exists() is already_installed
    assert not already_installed or "worker_shutdown_timeout" not in drop_in.read_text()
    assert on_nginx.nginx.test().returncode == 0
    [notice] = case.traffic.notices([])
    for word in ("longest_connection", str(config)):
        assert word in notice
    assert all(file.present == file.wanted for file in case.traffic.installed_files())


def test_another_server_in_an_operators_template_is_no_endpoint_of_the_service(
    case: Case, on_nginx: NginxHost, tmp_path: Path
) -> None:
    """`supervise` compares what is served with the replicas: an endpoint too many would be a switch in each pass."""
    one, other, *_ = case.endpoints
    template = tmp_path / "server.j2"
    template.write_text(
        f"upstream legacy {{ server {other}; }}\n"
        "server {{ '{' }} listen {{ server.listen[0] }}; location /old {{ '{' }} proxy_pass http://legacy; {{ '}' }}\n"
        "location / {{ '{' }} proxy_pass http://{{ upstream }}; {{ '}' }} {{ '}' }}\n"
    )
    server = Server(listen=(f"127.0.0.1:{case.ports['web']}",), names=("localhost",), template=str(template))
    service = Service(image="app", port=80, nginx=Nginx(upstream="web", server=server))
    route = Route(Definition(id="web", service=service, written={}, digest="d"), (one,))
    case.switch(route)
    assert other in (on_nginx.nginx.include_dir / "web.conf").read_text()
    assert case.traffic.serving("web") == {one}
    assert case.traffic.known() == {one}
    assert case.traffic.serves([route])


HOSTILE = """<b>"it's" \\ \\" $host ${host} ; } # { ü</b>"""


def own_block(case: Case, on_nginx: NginxHost, service: str = "web") -> None:
    """Add a server block of an operator that knows only the upstream of the service, on the port of `api`."""
    block = (
        f"listen 127.0.0.1:{case.ports['api']}; client_max_body_size 0; location / {{ proxy_pass http://{service}; }}"
    )
    on_nginx.nginx.add_server("own", f"server {{ {block} }}\n")


def answer(port: int, path: str = "/", method: str = "GET", body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of a request on a new connection."""
    with Connection(("127.0.0.1", port), 5) as connection:
        status = connection.request(method, path, {"Host": "localhost", "Content-Length": str(len(body))}, body)
        return status, connection.headers, connection.body()


def test_in_maintenance_both_kinds_of_server_blocks_answer_the_page(case: Case, on_nginx: NginxHost) -> None:
    own_block(case, on_nginx)
    route = case.route("web", case.endpoints[0])
    case.switch(route)
    case.switch(maintained(route, HOSTILE))
    for port in case.ports.values():
        for path in ("/", "/style.css", "/a%20b?c=d"):
            status, headers, body = answer(port, path)
            assert (status, headers["retry-after"], headers["content-type"]) == (503, "60", "text/html")
            assert html.unescape(body.decode().partition("<p>")[2].partition("</p>")[0]) == HOSTILE
    assert answer(case.ports["api"], method="POST", body=b"x" * 2**21)[0] == 503


def test_own_pages_of_two_services_are_answered_as_they_are(case: Case) -> None:
    page = """<script>const $x = `${1}\\n "quoted"`;</script>""" + "<!-- $ -->" * 1000
    routes = [
        msgspec.structs.replace(
            case.route(service, case.endpoints[0]),
            maintenance=Maintenance(reason="x", who="ada", since="2026-01-01T00:00:00Z", template=page + service),
        )
        for service in SERVICES
    ]
    case.switch(*routes)
    for service in SERVICES:
        assert answer(case.ports[service])[2].decode() == page + service


def test_a_service_without_replicas_answers_503_also_to_a_large_request(case: Case, on_nginx: NginxHost) -> None:
    own_block(case, on_nginx)
    case.switch(case.route("web"))
    status, headers, _ = answer(case.ports["api"], "/a.css", "POST", b"x" * 2**21)
    assert (status, headers["content-type"]) == (503, "text/plain")


class Hello(http.server.BaseHTTPRequestHandler):
    """A backend that answers at once."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def hello(claims: Claims) -> Iterator[str]:
    """The endpoint of a backend that answers."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", claims.port()), Hello) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield "{}:{}".format(*server.server_address)
        server.shutdown()
        thread.join()


def test_no_request_is_lost_when_a_maintenance_begins_and_ends(case: Case, on_nginx: NginxHost, hello: str) -> None:
    """Clients on fresh connections get 200 or 503 and nothing else, also while nginx reloads."""
    own_block(case, on_nginx)
    route = case.route("web", hello)
    case.switch(route)
    found: collections.Counter[int | str] = collections.Counter()
    ended = threading.Event()

    def request(port: int) -> None:
        while not ended.is_set():
            try:
                found[answer(port)[0]] += 1
            except OSError as error:
                found[repr(error)] += 1

    threads = [threading.Thread(target=request, args=[port]) for port in [*case.ports.values()] * 2]
    for thread in threads:
        thread.start()
    for _ in range(5):
        case.switch(maintained(route))
        assert {answer(port)[0] for port in case.ports.values()} == {503}
        case.switch(route)
        assert {answer(port)[0] for port in case.ports.values()} == {200}
    ended.set()
    for thread in threads:
        thread.join()
    assert set(found) == {200, 503}, found


def test_a_maintenance_survives_a_kill_of_nginx(case: Case, on_nginx: NginxHost) -> None:
    """Its socket is left, and nginx cannot start while that exists."""
    route = maintained(case.route("web", case.endpoints[0]))
    case.switch(route)
    os.killpg(on_nginx.nginx.pid, signal.SIGKILL)
    on_nginx.nginx.stop()
    [left] = Path(on_nginx.host.runtime_dir, "nginx").glob("*.maintenance.sock")
    with pytest.raises(TrafficUnavailable):
        case.traffic.check([route])
    assert not left.exists()
    on_nginx.nginx.start()
    assert answer(case.ports["web"])[0] == 503
    assert case.traffic.serves([route])


def test_a_maintenance_that_nginx_refuses_changes_nothing(case: Case, on_nginx: NginxHost) -> None:
    route = case.route("web", case.endpoints[0])
    case.switch(route)
    on_nginx.nginx.add_server("theirs", "nonsense;\n")
    with pytest.raises(TrafficRefused):
        case.switch(maintained(route))
    assert case.traffic.serves([route])


def timed_server(case: Case, endpoint: str, **server: Any) -> None:
    """Switch `web` to one endpoint, through a server block with these keys."""
    block = Server(listen=(f"127.0.0.1:{case.ports['web']}",), names=("localhost",), **server)
    service = Service(image="app", port=80, nginx=Nginx(upstream="web", server=block))
    case.switch(Route(Definition(id="web", service=service, written={}, digest="d"), (endpoint,)))


def test_the_timeout_of_a_response(case: Case) -> None:
    """The backends of `case` accept a request and never answer it."""
    timed_server(case, case.endpoints[0], response_timeout=Period(0.3))
    began = time.monotonic()
    assert answer(case.ports["web"])[0] == 504
    assert 0.2 < time.monotonic() - began < 60  # nginx's default


@pytest.mark.parametrize("buffering", [True, False])
def test_buffering(case: Case, claims: Claims, buffering: bool) -> None:
    """Without it, each side gets what the other one has sent so far."""
    with socket.create_server(("127.0.0.1", claims.port())) as backend:
        timed_server(case, "{}:{}".format(*backend.getsockname()), buffering=buffering)
        with socket.create_connection(("127.0.0.1", case.ports["web"])) as client:
            client.settimeout(0.5)
            client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345")
            if buffering:
                backend.settimeout(0.5)
                with pytest.raises(TimeoutError):
                    backend.accept()
                client.sendall(b"67890")
            backend.settimeout(10)
            accepted, _ = backend.accept()
            with accepted:
                accepted.settimeout(5)
                wanted, got = b"1234567890" if buffering else b"12345", b""
                while not got.endswith(wanted):
                    got += accepted.recv(65536)
                accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde")
                if buffering:
                    with pytest.raises(TimeoutError):
                        client.recv(65536)
                else:
                    client.settimeout(5)
                    received = b""
                    while not received.endswith(b"abcde"):
                        received += client.recv(65536)


@pytest.fixture
def loopback(claims: Claims) -> str:
    """An address of this host on which no other test uses port 80."""
    port = claims.port()
    return f"127.{port >> 8}.{port & 255}.1"


def test_plain_requests_are_redirected_to_tls(
    case: Case, on_nginx: NginxHost, certificate: Tls, loopback: str, tmp_path: Path
) -> None:
    webroot = on_nginx.nginx.directory / "acme"
    challenge = webroot / ".well-known" / "acme-challenge"
    challenge.mkdir(parents=True)
    (challenge / "token").write_text("proof")
    port = case.ports["web"]
    keys: dict[str, Any] = {"names": ("a.example",), "tls": certificate, "ssl_redirect": True}
    assert served(case, f"{loopback}:{port} ssl", acme_webroot=str(webroot), **keys) == []

    def get(path: str, method: str = "GET", body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        with Connection((loopback, 80), 5) as connection:
            headers = {"Host": "a.example", "Content-Length": str(len(body))}
            return connection.request(method, path, headers, body), connection.headers, connection.body()

    flag = Path(on_nginx.host.runtime_dir, "nginx", "announce")
    for announced in (False, True):
        if announced:
            flag.touch()
        for method, body in (("GET", b""), ("POST", b"x" * 2**21)):
            status, headers, _ = get("/a%20b?c=d", method, body)
            assert (status, headers["location"]) == (308, f"https://a.example:{port}/a%20b?c=d")
            assert (headers["connection"] == "close") is announced
        status, headers, body = get("/.well-known/acme-challenge/token")
        assert (status, body) == (200, b"proof")
        assert (headers["connection"] == "close") is announced
    flag.unlink()
    assert served(case, f"{loopback}:{port} ssl", **keys) == []
    assert get("/.well-known/acme-challenge/token")[0] == 308
    foreign(on_nginx, "a.conf", f"listen {loopback}:80; server_name a.example; return 301 https://$host/;")
    [warning] = case.traffic.check([redirecting_route(case, f"{loopback}:{port} ssl", **keys)])
    assert "a.example" in warning
    assert served(case, f"{loopback}:{port} ssl", body_limit=ByteSize(1), **keys) == [("a.example", False)]


def redirecting_route(case: Case, *listen: str, **server: Any) -> Route:
    service = Service(image="app", port=80, nginx=Nginx(upstream="web", server=Server(listen=listen, **server)))
    return Route(Definition(id="web", service=service, written={}, digest="d"), case.endpoints[:1])


def test_a_file_that_was_edited_by_hand_is_named_before_it_is_overwritten(case: Case, on_nginx: NginxHost) -> None:
    route = case.route("web", case.endpoints[0])
    case.switch(route)
    path = on_nginx.nginx.include_dir / "web.conf"
    written = path.read_text()
    assert case.traffic.edited("web") is None
    path.write_text(written.replace("keepalive 64;", "keepalive 32;"))
    assert case.traffic.edited("web") == path
    [warning] = case.traffic.check([route])
    assert str(path) in warning
    case.switch(route)
    assert (case.traffic.edited("web"), path.read_text()) == (None, written)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "zeros": lambda path: path.write_bytes(bytes(100)),
    "newer": lambda path: path.write_text('{"version": 99}'),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_named_and_nothing_is_switched(case: Case, on_nginx: NginxHost, damage: str) -> None:
    one, two, *_ = case.endpoints
    case.switch(case.route("web", one))
    record, before = Path(on_nginx.host.state_dir, "traffic.json"), workers(on_nginx)
    text = (on_nginx.nginx.include_dir / "web.conf").read_text()
    DAMAGES[damage](record)
    traffic = on_nginx.traffic()
    calls: list[Callable[[], object]] = [
        lambda: traffic.switch([case.route("web", two)], lambda _: None),
        lambda: traffic.install([case.route("web", two)], {"web"}),
        lambda: traffic.serving("web"),
        traffic.known,
    ]
    for call in calls:
        with pytest.raises(ConductorError) as refused:
            call()
        assert str(record) in refused.value.sentence
    assert (workers(on_nginx), (on_nginx.nginx.include_dir / "web.conf").read_text()) == (before, text)
