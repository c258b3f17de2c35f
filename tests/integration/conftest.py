"""Fixtures of the integration tests, which need root, the Docker daemon and nginx; `tests/run` provides them."""

import contextlib
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.traffic_contract import SERVICES, Case
from tests.support.aftermath import QUICK, nothing_left_behind
from tests.support.claims import Claims
from tests.support.host import TestHost
from tests.support.nginx_host import NginxHost
from tests.support.odd_clients import SlowUpload
from tests.support.real_parts import need_real_parts
from tests.support.supervised import Supervised

ACCEPT_SECONDS = 10.0


@pytest.fixture(scope="session", autouse=True)
def real_parts() -> None:
    need_real_parts()


@pytest.fixture(scope="module")
def module_host(images: None, cutover: str) -> Iterator[TestHost]:
    """The host of `serving`."""
    with TestHost(cutover=cutover) as made:
        yield made


@pytest.fixture
def serving(module_host: TestHost, request: pytest.FixtureRequest) -> Iterator[TestHost]:
    """A host where one container of `web` r1 serves. The tests of a module share it."""
    module_host.define({"web": QUICK})
    if not is_as_left(module_host):
        module_host.upgrade("r1", "web", "--force", check=True)
    before = request.session.testsfailed
    yield module_host
    if request.session.testsfailed > before:
        print(module_host.describe())


@pytest.fixture
def web(serving: TestHost) -> Iterator[TestHost]:
    """`serving`, with its definition, its count and its running state restored after the test."""
    yield serving
    serving.define({"web": QUICK})
    if (serving.wanted() or {}).get("stopped"):
        serving.conductor("service", "start", "--id", "web")
    serving.conductor("service", "scale", "--id", "web", "--reset")


@pytest.fixture
def uploading(serving: TestHost) -> Iterator[Callable[[], SlowUpload]]:
    """Start an upload to `web` that is in progress until it is told to finish."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(SlowUpload(serving.url())))


@pytest.fixture
def sup(host: TestHost) -> Iterator[Supervised]:
    """Two replicas of `web` serve; `supervise` is not started yet."""
    made = Supervised(host)
    try:
        host.define({"web": made.service()})
        host.upgrade("r1", check=True)
        yield made
    finally:
        print(f"log of supervise:\n{made.log}")
        made.end()


@pytest.fixture
def claims() -> Iterator[Claims]:
    made = Claims()
    yield made
    made.release()


@pytest.fixture
def on_nginx(claims: Claims, cutover: str) -> Iterator[NginxHost]:
    with tempfile.TemporaryDirectory(prefix=f"conductor-test-{os.getpid()}-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # nginx's workers are another user
        made = NginxHost(directory, claims, cutover)
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


def is_as_left(host: TestHost) -> bool:
    """True when r1 serves and nothing else is left, as after most tests."""
    try:
        nothing_left_behind(host, "r1")
    except (AssertionError, OSError):
        return False
    return True
