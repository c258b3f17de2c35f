"""Live upstreams on a real nginx, without containers: the cutover, the balancing, exact counts, and what goes wrong."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.commands.context import make_traffic
from conductor.definitions.model import Definition, Nginx, Service
from conductor.definitions.scalars import Period
from conductor.errors import ConductorError
from conductor.http import Connection
from conductor.plan.route import Cutover, Route, Split
from conductor.state.locks import Locks
from conductor.traffic.peers import LUA_FILE, Peers, encoded, with_generation
from conductor.traffic.port import Drained, Draining, Traffic, TrafficRefused
from conductor.traffic.render import HEADER
from tests.fakes.traffic_contract import Case, maintained
from tests.support.backend import Backend, backends, refusing
from tests.support.claims import Claims
from tests.support.nginx import WORKERS
from tests.support.nginx_host import NginxHost

UNAVAILABLE = b"no replica of this service is running"


@pytest.fixture(scope="module")
def cutover() -> str:
    return "live"


@pytest.fixture
def servers(claims: Claims) -> Iterator[list[Backend]]:
    with backends(claims, 3) as made:
        yield made


class Client:
    """A client with one connection that it keeps, as most do."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)

    def get(self, path: str = "/", method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
        """Return status and body."""
        self.send(path, method, body)
        return self.read()

    def send(self, path: str = "/", method: str = "GET", body: bytes = b"") -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)

    def read(self) -> tuple[int, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._received()
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        while len(body) < length:
            body += self._received()
        return int(head.split()[1]), body

    def _received(self) -> bytes:
        if not (data := self._socket.recv(65536)):
            raise ConnectionResetError("the connection was closed without a response")
        return data

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def client(case: Case) -> Iterator[Callable[[], Client]]:
    """Connect to `web`."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(Client(case.ports["web"])))


def private(on_nginx: NginxHost, method: str = "GET", body: str = "") -> tuple[int, str]:
    """Send a request to Conductor's own socket."""
    with Connection(str(Path(on_nginx.host.runtime_dir, "nginx", "private", "status.sock")), 5) as connection:
        status = connection.request(method, "/live", {"Host": "x", "Content-Length": str(len(body))}, body.encode())
        return status, connection.body().decode()


def held(on_nginx: NginxHost) -> Counter[str]:
    """Return the counted requests by endpoint."""
    lines = [line.split() for line in private(on_nginx)[1].splitlines()]
    found: Counter[str] = Counter()
    for words in lines:
        if words[0] == "held" and words[5] != "0":
            found[words[4]] += int(words[5])
    return found


def holding(on_nginx: NginxHost) -> set[int]:
    """Return the pids of the workers with counted requests."""
    lines = [line.split() for line in private(on_nginx)[1].splitlines()]
    return {int(words[1]) for words in lines if words[0] == "held" and words[5] != "0"}


def test_a_cutover_needs_no_reload_and_is_seen_by_kept_connections(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    one, two, three = servers
    case.switch(case.route("web", one.endpoint))
    before, kept = on_nginx.nginx.workers(), [client() for _ in range(8)]
    assert {each.get() for each in kept} == {(200, one.endpoint.encode())}
    last = case.switch(case.route("web", two.endpoint, three.endpoint))[-1]
    assert {each.get() for each in kept * 2} == {(200, each.endpoint.encode()) for each in (two, three)}
    assert case.drain(last, one.endpoint) == Drained()
    case.undo(last)
    assert {each.get() for each in kept} == {(200, one.endpoint.encode())}
    assert on_nginx.nginx.workers() <= before  # none was started


def test_requests_are_spread_evenly_and_connections_to_replicas_are_kept(
    case: Case, servers: list[Backend], client: Callable[[], Client]
) -> None:
    case.switch(case.route("web", *(one.endpoint for one in servers)))
    kept = client()
    assert Counter(kept.get()[1] for _ in range(60)) == {one.endpoint.encode(): 20 for one in servers}
    assert [one.connections for one in servers] == [1, 1, 1]


def test_a_refused_connection_is_tried_on_the_next_peer_also_for_post(
    case: Case, servers: list[Backend], client: Callable[[], Client], claims: Claims
) -> None:
    one, *_ = servers
    case.switch(case.route("web", one.endpoint, refusing(claims), refusing(claims)))
    kept = client()
    for _ in range(6):
        assert kept.get("/", "POST", b"amount=1") == (200, one.endpoint.encode())
    assert one.received == ["POST /"] * 6


def test_an_address_that_is_gone_delays_a_request_and_loses_none(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    """Nothing answers at it, so a connection is not refused but times out, after `proxy_connect_timeout`."""
    one, *_ = servers
    with contextlib.ExitStack() as stack:
        gone = stack.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0), backlog=0)))
        name, port = gone.getsockname()
        for _ in range(2):  # until its queue is full, after which the kernel drops connections
            filling = stack.enter_context(contextlib.closing(socket.socket()))
            filling.setblocking(False)
            filling.connect_ex((name, port))
        case.switch(case.route("web", one.endpoint, f"{name}:{port}"))
        kept = client()
        began = time.monotonic()
        assert [kept.get("/", "POST", b"x") for _ in range(4)] == [(200, one.endpoint.encode())] * 4
        assert time.monotonic() - began >= 2
        assert one.received == ["POST /"] * 4
        wait_for(lambda: not held(on_nginx), "no request counted")


def balanced(case: Case, nginx: Nginx, *endpoints: str) -> Route:
    """Return a route with other options of `nginx`."""
    route = case.route("web", *endpoints)
    server = route.definition.service.nginx.server if route.definition.service.nginx else None
    service = msgspec.structs.replace(route.definition.service, nginx=msgspec.structs.replace(nginx, server=server))
    return msgspec.structs.replace(route, definition=msgspec.structs.replace(route.definition, service=service))


def test_requests_go_to_the_replica_with_the_fewest(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    """Each worker counts its own requests, so both need one."""
    one, two, _ = servers
    least = Nginx(upstream="web", balance="least")
    case.switch(balanced(case, least, one.endpoint))
    while len(holding(on_nginx)) < 2:
        client().send("/hold")
        one.await_held()
    case.switch(balanced(case, least, one.endpoint, two.endpoint))
    assert {client().get()[1] for _ in range(20)} == {two.endpoint.encode()}


def test_a_joining_replica_starts_slowly(case: Case, servers: list[Backend], client: Callable[[], Client]) -> None:
    one, two, _ = servers
    slow = Nginx(upstream="web", slow_start=Period(600))
    case.switch(balanced(case, slow, one.endpoint))
    kept = client()
    assert kept.get() == (200, one.endpoint.encode())
    case.switch(balanced(case, slow, one.endpoint, two.endpoint))
    counted = Counter(kept.get()[1] for _ in range(200))
    assert 0 < counted[two.endpoint.encode()] < 50


def test_without_peers_the_answer_is_503(case: Case, servers: list[Backend], client: Callable[[], Client]) -> None:
    case.switch(case.route("web", servers[0].endpoint))
    kept = client()
    assert kept.get()[0] == 200
    case.switch(case.route("web"))
    status, body = kept.get("/", "POST", b"x" * 1000)
    assert (status, UNAVAILABLE in body) == (503, True)
    assert UNAVAILABLE in client().get()[1]


LOCATIONS = """
server {{
    listen 127.0.0.1:{port};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    location / {{ proxy_pass http://web$request_uri; }}
    location /auth/ {{ auth_request /check; proxy_pass http://web$request_uri; }}
    location = /check {{ internal; proxy_pass http://web/check; proxy_pass_request_body off;
        proxy_set_header Content-Length ""; proxy_set_header Connection ""; }}
    location /mirrored/ {{ mirror /copy; proxy_pass http://web$request_uri; }}
    location = /copy {{ internal; proxy_pass http://web/copy; }}
    location /missing {{ proxy_pass http://web$request_uri; proxy_intercept_errors on; error_page 404 /instead; }}
    location /named {{ proxy_pass http://web/missing; proxy_intercept_errors on; error_page 404 = @other; }}
    location @other {{ proxy_pass http://web; }}
}}
"""


def test_every_request_is_counted_until_its_end_and_none_longer(
    case: Case, on_nginx: NginxHost, servers: list[Backend], claims: Claims
) -> None:
    """Subrequests, mirrors, internal redirects, named locations, retries, and clients that leave."""
    one, two, _ = servers
    web = Route(
        Definition(id="web", service=Service(image="a", port=80, nginx=Nginx()), written={}, digest="d"),
        (one.endpoint, refusing(claims)),
    )
    on_nginx.nginx.add_server("own", LOCATIONS.format(port=(port := claims.port())))
    case.switch(web)
    paths = ["/", "/auth/", "/mirrored/", "/missing", "/named"]
    with contextlib.closing(Client(port)) as kept:
        statuses = [kept.get(path, method, b"x")[0] for path in paths for method in ("GET", "POST") for _ in range(4)]
        assert set(statuses) == {200, 404}
    wait_for(lambda: not held(on_nginx), "no request counted")
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(contextlib.closing(Client(port))) for _ in range(3)]
        for each in waiting:
            each.send("/hold")
            one.await_held()
        left = waiting.pop()
        assert held(on_nginx) == {one.endpoint: 3}
        left.close()
        wait_for(lambda: held(on_nginx) == {one.endpoint: 2}, "the request of the client that left")
        last = case.switch(msgspec.structs.replace(web, endpoints=(two.endpoint,)))[-1]
        assert case.drain(last, one.endpoint, seconds=0.2) == Drained(cut=2)
        one.release.set()
        assert case.drain(last, one.endpoint) == Drained()
        assert [each.read()[0] for each in waiting] == [200, 200]
    assert not held(on_nginx)


KEPT = """
server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; }}
}}
"""


def test_a_request_survives_a_refused_connection_and_a_kept_one_that_its_replica_closes(
    case: Case, on_nginx: NginxHost, claims: Claims
) -> None:
    """nginx allows a third attempt for the kept connection: it goes to the replica that accepts connections."""
    on_nginx.nginx.add_server("own", KEPT.format(port=(port := claims.port())))
    closing = Backend(claims.port(), answers=1)
    try:
        case.switch(case.route("web", refusing(claims), closing.endpoint))
        with contextlib.closing(Client(port)) as kept:
            assert [kept.get("/")[0] for _ in range(12)] == [200] * 12
        assert len(closing.received) == 12 + 11  # each but the first tries a kept connection before a new one
    finally:
        closing.stop()


CHAIN = """
server {{
    listen 127.0.0.1:{port};
    location = /first {{ proxy_pass http://api; }}
    location / {{ auth_request /check; proxy_pass http://web/missing; proxy_intercept_errors on; error_page 404 = @other; }}
    location @other {{ proxy_pass http://api; }}
    location = /check {{ internal; proxy_pass http://web/check; proxy_pass_request_body off;
        proxy_set_header Content-Length ""; }}
}}
"""


def test_a_refused_attempt_of_a_request_with_several_peers_ends_no_other_count(
    case: Case, on_nginx: NginxHost, servers: list[Backend], claims: Claims
) -> None:
    """A worker numbers its peers: `api` has 1 and 2, `web` 3 to 14. A refused 1 follows 11 and 12."""

    def route(service: str, *endpoints: str) -> Route:
        made = Service(image="a", port=80, nginx=Nginx())
        return Route(Definition(id=service, service=made, written={}, digest="d"), endpoints)

    port = claims.port()
    on_nginx.nginx.add_server("own", CHAIN.format(port=port))
    with backends(claims, 12) as many:
        case.switch(route("api", refusing(claims), servers[0].endpoint), route("web", *(one.endpoint for one in many)))
        for path, times in (("/first", 1), ("/", 24)):
            for _ in range(4):  # connections, so that both workers get requests
                with contextlib.closing(Client(port)) as kept:
                    assert {kept.get(path)[0] for _ in range(times)} == {200}
    wait_for(
        lambda: {line.split()[-1] for line in private(on_nginx)[1].splitlines() if " 127." in line} == {"0"}, "no count"
    )


def wait_for(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.01)


@pytest.mark.parametrize("part", ["worker", "nginx"])
def test_requests_of_a_killed_worker_are_not_waited_for(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client], part: str
) -> None:
    """Its counts stay in the dictionary, which outlives it; those of a killed nginx go with it."""
    one, two, _ = servers
    case.switch(case.route("web", one.endpoint))
    client().send("/hold")
    one.await_held()
    last = case.switch(case.route("web", two.endpoint))[-1]
    [pid] = holding(on_nginx)
    if part == "worker":
        os.kill(pid, signal.SIGKILL)
    else:
        os.killpg(on_nginx.nginx.pid, signal.SIGKILL)
        on_nginx.nginx.stop()
    began = time.monotonic()
    assert case.drain(last, one.endpoint, seconds=20) == Drained()
    assert time.monotonic() - began < 20
    assert case.traffic.known() == {two.endpoint}


@contextlib.contextmanager
def daemon(on_nginx: NginxHost) -> Iterator[Callable[[], int]]:
    """Run nginx in the background, because only there it accepts an upgrade of its binary. Yield what returns its master."""
    nginx = on_nginx.nginx
    nginx.stop()
    words = [nginx.binary, "-e", str(nginx.error_log), "-p", str(nginx.directory), "-c", str(nginx.config)]
    subprocess.run(words, check=True)
    try:
        yield lambda: int(nginx.pid_file.read_text())
    finally:
        for path in (nginx.pid_file, Path(f"{nginx.pid_file}.oldbin")):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
                os.kill(pid := int(path.read_text()), signal.SIGTERM)
                wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists(), "nginx to exit")  # type: ignore[misc]


def test_a_drain_goes_on_while_the_binary_of_nginx_is_upgraded(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    """Each of the two masters has its own memory, and either may answer."""
    one, two, _ = servers
    case.switch(case.route("web", one.endpoint))
    with daemon(on_nginx) as master:
        wait_for(lambda: case.traffic.serves([case.route("web", one.endpoint)]), "nginx")
        client().send("/hold")
        one.await_held()
        last, old = case.switch(case.route("web", two.endpoint))[-1], master()
        os.kill(old, signal.SIGUSR2)
        wait_for(lambda: Path(f"{on_nginx.nginx.pid_file}.oldbin").exists(), "the old name")
        wait_for(lambda: on_nginx.nginx.pid_file.exists() and master() != old, "the new master")
        os.kill(old, signal.SIGWINCH)  # its workers accept nothing more
        wait_for(lambda: "held" not in private(on_nginx)[1], "an answer of the new master")
        with ThreadPoolExecutor() as pool:
            draining = pool.submit(case.drain, last, one.endpoint)
            time.sleep(0.5)
            early = draining.done()
            os.kill(old, signal.SIGQUIT)
            one.release.set()
            assert (early, draining.result()) == (False, Drained())


def test_workers_that_have_exited_leave_nothing_in_the_memory(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    """Each reload begins new workers; what those before them counted would fill the memory."""
    case.switch(case.route("web", *(one.endpoint for one in servers)))
    for _ in range(3):
        assert {client().get()[0] for _ in range(12)} == {200}
        reload(on_nginx)
    assert {client().get()[0] for _ in range(12)} == {200}
    lines = [line.split() for line in private(on_nginx)[1].splitlines()]
    counting = {int(words[1]) for words in lines if words[0] == "held"}
    assert counting
    assert counting <= on_nginx.nginx.workers()


def test_lost_counts_are_noticed_by_the_connections(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    """A `log_by_lua` of the operator's server block replaces the one that counts the end of a request."""
    one, two, _ = servers
    port = case.ports["api"]
    block = f"server {{ listen 127.0.0.1:{port}; log_by_lua_block {{ }} location / {{ proxy_pass http://web; }} }}"
    on_nginx.nginx.add_server("own", block)
    route = case.route("web", one.endpoint)
    case.switch(route)
    with contextlib.closing(Client(port)) as kept:
        assert kept.get()[0] == 200
    assert held(on_nginx) == {one.endpoint: 1}
    [notice] = case.traffic.notices([route])
    assert "log_by_lua" in notice
    last = case.switch(case.route("web", two.endpoint))[-1]
    began = time.monotonic()
    assert case.drain(last, one.endpoint, seconds=20) == Drained()
    assert time.monotonic() - began < 20
    wait_for(lambda: case.traffic.known() == {two.endpoint}, "the address to be free")


def restart(on_nginx: NginxHost) -> None:
    """Kill nginx and start it again, as its owner does; the drop-in of its unit removes dead sockets."""
    os.killpg(on_nginx.nginx.pid, signal.SIGKILL)
    on_nginx.nginx.stop()
    for path in Path(on_nginx.host.runtime_dir, "nginx").rglob("*.sock"):
        path.unlink()
    on_nginx.nginx.start()


def reload(on_nginx: NginxHost) -> None:
    """Reload nginx, as a colleague does, and wait until the old workers have exited."""
    before = on_nginx.nginx.workers()
    on_nginx.nginx.reload()
    wait_for(lambda: before.isdisjoint(on_nginx.nginx.workers()), "the old workers to exit")


@pytest.mark.parametrize("disturb", [reload, restart])
def test_a_reload_or_a_restart_by_somebody_else_changes_no_routing(
    case: Case,
    on_nginx: NginxHost,
    servers: list[Backend],
    client: Callable[[], Client],
    disturb: Callable[[NginxHost], None],
) -> None:
    one, two, _ = servers
    case.switch(case.route("web", one.endpoint))
    case.switch(case.route("web", two.endpoint))
    disturb(on_nginx)
    assert {client().get() for _ in range(8)} == {(200, two.endpoint.encode())}
    assert case.traffic.serving("web") == {two.endpoint}
    assert case.traffic.serves([case.route("web", two.endpoint)])
    case.switch(case.route("web", one.endpoint))
    disturb(on_nginx)
    assert {client().get() for _ in range(8)} == {(200, one.endpoint.encode())}


@pytest.fixture
def between(case: Case, on_nginx: NginxHost, servers: list[Backend]) -> list[Cutover]:
    """A switch of `web` from the first to the second backend that ended between the file and the call."""
    one, two, _ = servers
    case.switch(case.route("web", one.endpoint))
    records: list[Cutover] = []

    def record(cutover: str) -> None:
        records.append(cutover)
        later = int(time.time() * 1000) + 5000
        assert private(on_nginx, "POST", encoded(Peers("web", later, (one.endpoint,))))[0] == 200

    with pytest.raises(ConductorError) as failed:
        case.traffic.switch([case.route("web", two.endpoint)], record)
    assert "later generation" in failed.value.sentence
    assert not case.traffic.serves([case.route("web", two.endpoint)])
    assert case.traffic.serving("web") == {one.endpoint}
    assert case.traffic.known() == {one.endpoint, two.endpoint}
    return records


def test_a_switch_that_ended_between_file_and_call_is_finished_by_the_next_one(
    case: Case, between: list[Cutover], servers: list[Backend], client: Callable[[], Client]
) -> None:
    one, two, _ = servers
    last = case.switch(case.route("web", two.endpoint))[-1]
    assert {client().get() for _ in range(4)} == {(200, two.endpoint.encode())}
    assert case.drain(last, one.endpoint) == Drained()


def test_a_switch_that_ended_between_file_and_call_is_undone(
    case: Case, between: list[Cutover], servers: list[Backend], client: Callable[[], Client]
) -> None:
    one, *_ = servers
    case.undo(between[0])
    assert {client().get() for _ in range(4)} == {(200, one.endpoint.encode())}
    assert case.traffic.serves([case.route("web", one.endpoint)])


def test_what_to_load_is_decided_under_the_lock(
    case: Case, on_nginx: NginxHost, between: list[Cutover], servers: list[Backend], tmp_path: Path
) -> None:
    """Until `load` has the lock, another process may undo the switch that ended between file and call."""
    one, *_ = servers
    clock, cancellation = Clock(), SignalCancellation()
    locks = Locks(Path(on_nginx.host.runtime_dir) / "locks", "holder", clock, cancellation)
    other = make_traffic(on_nginx.host, Locks(tmp_path, "other", clock, cancellation), clock, cancellation)
    with ThreadPoolExecutor() as pool:
        with locks.hold("nginx"):
            loading = pool.submit(case.traffic.load)
            wait_for(lambda: locks.has_waiters("nginx"), "load to wait for the lock")
            other.undo(between[0], ["web"], lambda _cutover: None)
        loading.result()
    assert case.traffic.serving("web") == {one.endpoint}
    assert case.traffic.serves([case.route("web", one.endpoint)])


@pytest.mark.parametrize("moment", ["before the file", "between file and call", "between call and commit"])
def test_nginx_is_restarted_during_a_switch(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client], moment: str
) -> None:
    """It then serves what is on disk, and the switch ends or can be undone."""
    one, two, _ = servers
    case.switch(case.route("web", one.endpoint))
    file = on_nginx.nginx.include_dir / "web.conf"
    before = file.read_text()
    records: list[Cutover] = []

    def record(cutover: Cutover) -> None:
        records.append(cutover)
        match moment, len(records):
            case "between file and call", 1:
                for worker in on_nginx.nginx.workers():
                    os.kill(worker, signal.SIGSTOP)  # so that the call takes long enough
            case ("before the file", 1) | ("between call and commit", 2):
                restart(on_nginx)

    failure: ConductorError | None = None
    switch = partial(case.traffic.switch, [case.route("web", two.endpoint)], record)
    try:
        if moment == "between file and call":
            with ThreadPoolExecutor() as pool:
                switching = pool.submit(switch)
                wait_for(lambda: file.read_text() != before, "the file")
                restart(on_nginx)
                switching.result()
        else:
            switch()
    except ConductorError as error:
        failure = error
    assert client().get() == (200, two.endpoint.encode())
    assert case.traffic.serving("web") == {two.endpoint}
    if failure is not None:
        assert "nginx is not responding" in failure.sentence
        assert case.traffic.known() == {one.endpoint, two.endpoint}
    case.undo(records[-1])
    assert client().get() == (200, one.endpoint.encode())
    assert case.traffic.serves([case.route("web", one.endpoint)])
    case.switch(case.route("web", two.endpoint))
    assert client().get() == (200, two.endpoint.encode())


def test_peers_that_differ_from_the_file_are_found_and_replaced(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    one, two, _ = servers
    case.switch(case.route("web", one.endpoint))
    before = on_nginx.nginx.workers()
    private(on_nginx, "POST", encoded(Peers("web", int(time.time() * 1000) + 5000, (two.endpoint,))))
    assert case.traffic.serving("web") == {two.endpoint}
    assert not case.traffic.serves([case.route("web", one.endpoint)])
    case.traffic.load()
    assert case.traffic.serving("web") == {one.endpoint}
    assert client().get() == (200, one.endpoint.encode())
    assert on_nginx.nginx.workers() <= before  # none was started


def test_an_earlier_generation_is_refused(case: Case, on_nginx: NginxHost, servers: list[Backend]) -> None:
    case.switch(case.route("web", servers[0].endpoint))
    status, text = private(on_nginx, "POST", encoded(Peers("web", 1, (servers[1].endpoint,))))
    assert (status, "later generation" in text) == (409, True)
    assert case.traffic.serves([case.route("web", servers[0].endpoint)])


def test_the_control_is_reachable_only_through_a_socket_in_a_private_directory(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    case.switch(case.route("web", servers[0].endpoint))
    directory = Path(on_nginx.host.runtime_dir, "nginx", "private")
    assert directory.stat().st_mode & 0o777 == 0o700
    assert client().get("/live") == (200, servers[0].endpoint.encode())  # the app's own answer


def test_settings_of_the_operator_in_http_do_not_reach_the_control(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    on_nginx.nginx.add_server("theirs", "allow 127.0.0.1; deny all; client_body_in_file_only clean;")
    for one in servers[:2]:
        case.switch(case.route("web", one.endpoint))
        assert client().get() == (200, one.endpoint.encode())


def test_peers_for_which_there_is_no_memory_are_refused(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    """Those before stay: workers would use what was on disk when they started."""
    one, two, _ = servers
    case.switch(case.route("web", one.endpoint))
    case.switch(case.route("web", two.endpoint))
    for peers in (1500, 50):
        number = 0
        while private(on_nginx, "POST", encoded(Peers(f"s{peers}-{number}", 1, ("10.0.0.1:80",) * peers)))[0] == 200:
            number += 1
    later = Peers("web", int(time.time() * 1000) + 5000, (one.endpoint,) * 400)
    assert private(on_nginx, "POST", encoded(later)) == (507, "no memory\n")
    assert case.traffic.serving("web") == {two.endpoint}
    assert {client().get() for _ in range(8)} == {(200, two.endpoint.encode())}


def split(route: Route, *endpoints: str) -> Route:
    """Return the route with half of the requests for other endpoints."""
    return msgspec.structs.replace(route, split=Split(endpoints, 50.0))


def test_a_failed_attempt_of_a_canary_is_an_error_though_the_client_gets_an_answer(
    case: Case, servers: list[Backend], client: Callable[[], Client], claims: Claims
) -> None:
    route = case.route("web", servers[0].endpoint)
    case.switch(route)
    case.switch(split(route, refusing(claims)))
    kept = client()
    assert {kept.get() for _ in range(40)} == {(200, servers[0].endpoint.encode())}

    def figures() -> list[tuple[int, int]]:
        found = case.traffic.compared("web")
        return [(each.requests, each.errors) for each in (found.new, found.old)]

    wait_for(lambda: figures() == [(20, 20), (40, 0)], "nginx to count the requests")


def test_what_was_measured_is_deleted_after_the_canary(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    """Otherwise the figures of many canaries would fill the memory."""
    one, two, _ = (each.endpoint for each in servers)
    case.switch(case.route("web", one))
    case.switch(split(case.route("web", one), two))
    kept = client()
    assert {kept.get()[1] for _ in range(20)} == {one.encode(), two.encode()}
    wait_for(lambda: case.traffic.compared("web").new.requests == 10, "nginx to count the requests")
    restart(on_nginx)
    assert {client().get()[0] for _ in range(20)} == {200}
    assert case.traffic.compared("web").old.requests >= 10  # nginx has the peers from the file
    case.switch(case.route("web", two))
    wait_for(lambda: "stat" not in private(on_nginx)[1], "no figures")


def test_a_file_that_was_damaged_by_hand_is_noticed_and_replaced(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    one, two, three = servers
    case.switch(case.route("web", one.endpoint), case.route("api", two.endpoint))
    path = on_nginx.nginx.include_dir / "web.conf"
    path.write_text(
        with_generation(path.read_text().replace(one.endpoint, two.endpoint), int(time.time() * 1000) + 5000)
    )
    assert case.traffic.edited("web") == path
    case.traffic.load()
    case.switch(case.route("api", three.endpoint))
    assert case.traffic.serving("web") == {one.endpoint}
    assert client().get() == (
        200,
        one.endpoint.encode(),
    )  # nginx has not read the edited file, and does not get its peers
    case.switch(case.route("web", one.endpoint))
    assert case.traffic.edited("web") is None
    assert case.traffic.serves([case.route("web", one.endpoint)])
    path.write_text(f"{HEADER}nonsense")
    case.switch(case.route("web", two.endpoint))
    assert client().get() == (200, two.endpoint.encode())


class Losses:
    """Clients on kept and on fresh connections, and what they saw."""

    def __init__(self, port: int) -> None:
        self.seen: Counter[str] = Counter()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(port, kept)) for kept in (True, False) * 4]

    def _run(self, port: int, kept: bool) -> None:
        client = Client(port)
        while not self._ended.is_set():
            try:
                if not kept:
                    client.close()
                    client = Client(port)
                self.seen[str(client.get("/", "POST", b"x")[0])] += 1
            except OSError as error:  # a reload closes kept connections: with Client, that is a loss of its own kind
                self.seen["kept" if kept else repr(error)] += 1
                client.close()
                client = Client(port)
        client.close()

    def __enter__(self) -> "Losses":
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for one in self._threads:
            one.join()


def test_moving_from_one_way_to_the_other_and_back_loses_nothing(
    case: Case, on_nginx: NginxHost, servers: list[Backend]
) -> None:
    """Old workers of the way before still get requests while they finish; their endpoints are drained like all others."""
    one, two, three = (each.endpoint for each in servers)
    case.switch(case.route("web", one))

    def upgrade(traffic: Traffic, old: str, new: str) -> None:
        records: list[Cutover] = []
        traffic.switch([case.route("web", new)], records.append)
        assert traffic.drain(records[-1], [old], 20, lambda _draining: None) == Drained()
        assert old not in traffic.known()
        assert traffic.serving("web") == {new}

    with Losses(case.ports["web"]) as losses:
        for cutover, there, back in (
            ("reload", one, two),
            ("live", two, three),
            ("reload", three, one),
            ("live", one, two),
        ):
            traffic = on_nginx.move(cutover)
            assert traffic.serving("web") == {there}
            traffic.install([case.route("web", there)], {"web"})
            upgrade(traffic, there, back)
    assert losses.seen.keys() <= {"200", "kept"}, losses.seen
    assert losses.seen["200"] > 100


def test_a_change_that_was_interrupted_before_a_move_can_be_undone_after_it(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    one, two, _ = servers
    case.switch(case.route("web", one.endpoint))
    [_, live] = case.switch(case.route("web", two.endpoint))
    moved = on_nginx.move("reload")
    moved.undo(live, ["web"], lambda _cutover: None)
    assert client().get() == (200, one.endpoint.encode())
    records: list[Cutover] = []
    moved.switch([case.route("web", two.endpoint)], records.append)
    assert records[-1].implementation == "live"  # until nginx install, workers may follow the dictionary
    on_nginx.move("live").undo(records[-1], ["web"], lambda _cutover: None)
    assert client().get() == (200, one.endpoint.encode())


def test_a_drain_after_a_move_waits_for_workers_that_do_not_follow(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    """A client that connected before the move reaches what its old worker knows, although nothing is counted."""
    one, two, _ = servers
    traffic = on_nginx.move("reload")
    traffic.switch([case.route("web", one.endpoint)], lambda _cutover: None)
    client().send("/hold")
    one.await_held()
    traffic = on_nginx.move("live")
    traffic.install([case.route("web", one.endpoint)], {"web"})
    records: list[Cutover] = []
    traffic.switch([case.route("web", two.endpoint)], records.append)
    wait_for(lambda: len(on_nginx.nginx.workers()) == WORKERS + 1, "the idle old worker to exit")
    seen: list[Draining] = []
    assert traffic.drain(records[-1], [one.endpoint], 0.3, seen.append).cut == 1
    assert seen[-1].workers == 1
    assert traffic.known() == {one.endpoint, two.endpoint}
    one.release.set()
    assert traffic.drain(records[-1], [one.endpoint], 10, seen.append) == Drained()


class Killed(SignalCancellation):
    """The process ends at its first wait, which is that for clients before a reload."""

    def wait(self, seconds: float) -> None:
        raise SystemExit


def test_a_drain_after_a_move_that_was_killed_waits_for_workers_that_do_not_follow(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    """The files are in place, and somebody else reloads nginx."""
    one, two, _ = servers
    traffic = on_nginx.move("reload")
    traffic.switch([case.route("web", one.endpoint)], lambda _cutover: None)
    client().send("/hold")
    one.await_held()
    on_nginx.move("live")
    with pytest.raises(SystemExit):
        on_nginx.traffic(Killed()).install([case.route("web", one.endpoint)], {"web"})
    before = on_nginx.nginx.workers()
    on_nginx.nginx.reload()
    wait_for(lambda: len(on_nginx.nginx.workers() & before) == 1, "one old worker to exit")
    traffic = on_nginx.traffic()
    traffic.load()
    records: list[Cutover] = []
    traffic.switch([case.route("web", two.endpoint)], records.append)
    assert traffic.drain(records[-1], [one.endpoint], 0.3, lambda _draining: None).cut == 1
    one.release.set()


def test_a_maintenance_begins_and_ends_by_a_reload(
    case: Case, on_nginx: NginxHost, servers: list[Backend], client: Callable[[], Client]
) -> None:
    route = case.route("web", servers[0].endpoint)
    case.switch(route)
    case.switch(maintained(route, "Back at noon."))
    assert b"Back at noon." in client().get()[1]
    restart(on_nginx)
    case.switch(case.route("web", servers[1].endpoint))
    assert client().get() == (200, servers[1].endpoint.encode())


def module(on_nginx: NginxHost, text: str) -> None:
    (on_nginx.nginx.modules_dir / "50-mod-http-lua.conf").write_text(text)


TROUBLE = {
    "no module": ("", "", "libnginx-mod-http-lua"),
    "no lua-resty-core": (None, "lua_package_path '/nowhere/?.lua';", "lua-resty-core"),
    "a dictionary of the same name": (None, "lua_shared_dict conductor_peers 2m;", "rename your own lua_shared_dict"),
    "a log_by_lua in http": (None, "log_by_lua_block { ngx.log(ngx.INFO, 'x') }", "server blocks"),
}


@pytest.mark.parametrize(("modules", "http", "hint"), TROUBLE.values(), ids=TROUBLE)
def test_trouble_with_the_lua_module_is_refused_with_what_to_do(
    case: Case, on_nginx: NginxHost, modules: str | None, http: str, hint: str
) -> None:
    if modules is not None:
        module(on_nginx, modules)
    on_nginx.nginx.add_server("theirs", http)
    for call in (
        lambda: case.traffic.check([case.route("web", case.endpoints[0])]),
        lambda: case.traffic.install([case.route("web", case.endpoints[0])], {"web"}),
    ):
        with pytest.raises(TrafficRefused) as refused:
            call()
        assert hint in (refused.value.hint or ""), refused.value
    assert not (on_nginx.nginx.include_dir / "web.conf").exists()


def test_a_directory_that_workers_cannot_enter_is_refused(case: Case, on_nginx: NginxHost) -> None:
    """They read the Lua file with the first request, which would be answered 500."""
    on_nginx.nginx.directory.chmod(0o700)
    with pytest.raises(TrafficRefused) as refused:
        case.traffic.check([case.route("web", case.endpoints[0])])
    on_nginx.nginx.directory.chmod(0o755)
    assert refused.value.hint == f"chmod o+x {on_nginx.nginx.directory}"


def test_the_generation_of_a_hundred_services_with_eight_peers_each(case: Case, on_nginx: NginxHost) -> None:
    def route(number: int, last: int) -> Route:
        service = Service(image="app", port=80, nginx=Nginx())
        ends = tuple(f"10.0.{number}.{peer}:8080" for peer in (1, 2, 3, 4, 5, 6, 7, last))
        return Route(Definition(id=f"s{number}", service=service, written={}, digest="d"), ends)

    routes = [route(number, 8) for number in range(100)]
    case.traffic.install(routes, {route.service for route in routes})
    before = on_nginx.nginx.workers()
    began = time.process_time()
    case.switch(*(route(number, 9) for number in range(100)))
    assert time.process_time() - began < 5
    assert all(case.traffic.serving(f"s{n}") >= {f"10.0.{n}.9:8080"} for n in (0, 50, 99))
    assert on_nginx.nginx.workers() <= before  # none was started
    assert case.traffic.serves([route(number, 9) for number in range(100)])


def test_two_processes_change_two_services_at_once(case: Case, on_nginx: NginxHost, servers: list[Backend]) -> None:
    one, two, _ = (each.endpoint for each in servers)
    case.switch(case.route("web", one), case.route("api", one))

    def change(service: str) -> None:
        traffic = on_nginx.traffic()
        for endpoint in (two, one) * 10:
            traffic.switch([case.route(service, endpoint)], lambda _cutover: None)

    with ThreadPoolExecutor() as pool:
        for each in [pool.submit(change, service) for service in ("web", "api")]:
            each.result()
    assert case.traffic.serves([case.route("web", one), case.route("api", one)])


def test_the_lua_is_clean() -> None:
    """luacheck's Debian package is lua-check."""
    source = Path(__file__).parents[2] / "conductor" / "templates" / LUA_FILE
    words = ["luacheck", "--std", "ngx_lua", "--no-color", str(source)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
