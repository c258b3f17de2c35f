"""nginx by reload does what the fake traffic layer of the unit tests does, and recovers a killed switch."""

import contextlib
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conductor.cancellation import Cancellation, SignalCancellation
from conductor.clock import Clock
from conductor.definitions.model import Definition, Host, HostNginx, Nginx, Server, Service
from conductor.definitions.scalars import Seconds
from conductor.errors import ConductorError, Interrupted
from conductor.plan.route import Cutover, Route
from conductor.state.locks import Locks
from conductor.traffic.port import Drained, TrafficRefused
from conductor.traffic.reload.reload import ReloadTraffic
from tests.fakes.runtime import FakeCancellation
from tests.fakes.traffic_contract import BEHAVIOURS, SERVICES, Case
from tests.support.claims import Claims
from tests.support.nginx import PrivateNginx

ACCEPT_SECONDS = 10.0


class NginxHost:
    """A private nginx, and a traffic layer of each process that changes it."""

    def __init__(self, directory: Path, claims: Claims) -> None:
        self.nginx = PrivateNginx(directory / "nginx", claims)
        self.host = Host(
            state_dir=str(directory / "state"),
            runtime_dir=str(directory / "run"),
            nginx=HostNginx(
                include_dir=str(self.nginx.include_dir),
                config=str(self.nginx.config),
                binary=self.nginx.binary,
                announce=Seconds(0.1),
            ),
        )

    def traffic(self, cancellation: Cancellation | None = None) -> ReloadTraffic:
        """Return the traffic layer as another process sees it."""
        clock, cancellation = Clock(), cancellation or SignalCancellation()
        locks = Locks(Path(self.host.runtime_dir) / "locks", "test", clock, cancellation)
        return ReloadTraffic(self.host, locks, clock, cancellation)


@pytest.fixture
def claims() -> Iterator[Claims]:
    made = Claims()
    yield made
    made.release()


@pytest.fixture
def on_nginx(claims: Claims) -> Iterator[NginxHost]:
    with tempfile.TemporaryDirectory(prefix=f"conductor-test-{os.getpid()}-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # nginx's workers are another user
        made = NginxHost(directory, claims)
        with made.nginx:
            yield made
        print(made.nginx.log_tail())


@pytest.fixture
def case(on_nginx: NginxHost, claims: Claims) -> Iterator[Case]:
    with contextlib.ExitStack() as stack:
        servers = {}
        for _ in range(4):  # backends that accept a request and never answer it
            server = stack.enter_context(socket.create_server(("127.0.0.1", claims.port())))
            server.settimeout(ACCEPT_SECONDS)
            servers[f"127.0.0.1:{server.getsockname()[1]}"] = server
        ports = {service: claims.port() for service in SERVICES}

        @contextlib.contextmanager
        def request(service: str, endpoint: str) -> Iterator[None]:
            with socket.create_connection(("127.0.0.1", ports[service])) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                accepted, _ = servers[endpoint].accept()
                with accepted:
                    yield

        one, two, three, four = servers
        yield Case(on_nginx.traffic(), (one, two, three, four), ports, request, on_nginx.nginx.stop)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
def test_contract(case: Case, behaviour: Callable[[Case], None]) -> None:
    behaviour(case)


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
    assert case.traffic.notices() == ()
    config = on_nginx.nginx.config
    config.write_text(f"worker_shutdown_timeout 60s; {config.read_text()}")
    case.traffic.install([], ())
    assert drop_in.exists() is already_installed
    assert not already_installed or "worker_shutdown_timeout" not in drop_in.read_text()
    assert on_nginx.nginx.test().returncode == 0
    [notice] = case.traffic.notices()
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
