"""The announce flag changes nothing in a location but the header that closes the connection."""

import json
from contextlib import closing
from typing import NamedTuple

import pytest

from tests.support.aftermath import QUICK
from tests.support.host import TestHost, merged
from tests.support.load import SlowUpload
from tests.support.odd_clients import OneConnection
from tests.support.own_server import UPSTREAM_ONLY, install_own_server
from tests.support.websocket import WebSocket

LOCATIONS = """
    error_page 404 /missing;
    location / {{ {bounce} proxy_pass http://{service}$request_uri; {headers} }}
    location /ws {{ {bounce} proxy_pass http://{service}$request_uri; proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $conductor_connection; }}
    location /denied {{ {bounce} deny all; proxy_pass http://{service}$request_uri; {headers} }}
    location /inside {{ internal; {bounce} proxy_pass http://{service}$request_uri; {headers} }}
    location /forbidden {{ {bounce} auth_request /no; proxy_pass http://{service}$request_uri; {headers} }}
    location /allowed {{ {bounce} auth_request /yes; proxy_pass http://{service}$request_uri; {headers} }}
    location = /no {{ internal; {bounce} proxy_pass_request_body off; proxy_set_header Content-Length "";
        proxy_pass http://{service}/status?code=403; {headers} }}
    location = /yes {{ internal; {bounce} proxy_pass_request_body off; proxy_set_header Content-Length "";
        proxy_pass http://{service}/status?code=200; {headers} }}
    location /files {{ {bounce} root {files}; try_files $uri @app; }}
    location @app {{ {bounce} proxy_pass http://{service}$request_uri; {headers} }}
    location /status {{ {bounce} proxy_intercept_errors on; proxy_pass http://{service}$request_uri; {headers}
        error_page 500 =200 /sorry; error_page 404 /missing; error_page 503 =299 @app; }}
    location = /sorry {{ {bounce} proxy_pass http://{service}/was-sorry; {headers} }}
    location = /missing {{ {bounce} proxy_pass http://{service}/was-missing; {headers} }}
    location /limited {{ {bounce} limit_req zone=slowly; proxy_pass http://{service}$request_uri; {headers} }}
    location /moved {{ {bounce} return 301 /elsewhere; }}
    location /small {{ {bounce} client_max_body_size 10; proxy_pass http://{service}$request_uri; {headers} }}
"""


class Case(NamedTuple):
    """A request and its answer, with and without the flag. `path` is the path that the app received, None when nginx
    answered itself. `closes`: nginx closes the connection in any case, as after a 413 or a 500."""

    request: str
    status: int
    path: str | None
    body: bytes = b""
    closes: bool = False


CASES = [
    Case("GET /plain", 200, "/plain"),
    Case("POST /payments", 200, "/payments", b"amount=100"),
    Case("PUT /big/upload", 200, "/big/upload", b"x" * 200_000),
    Case("GET /a%2Fb/c%20d?x=%2F&y=a+b", 200, "/a%2Fb/c%20d?x=%2F&y=a+b"),
    Case("GET /a%3Fb%25c?q", 200, "/a%3Fb%25c?q"),
    Case("GET //twice///slashed/../up/./?", 200, "//twice///slashed/../up/./?"),
    Case("GET /%C3%A4?%C3%B6", 200, "/%C3%A4?%C3%B6"),
    Case("GET /denied/x?y=1", 403, None),
    Case("POST /denied", 403, None, b"amount=100"),
    Case("GET /inside/x", 404, "/was-missing"),
    Case("GET /forbidden/x", 403, None),
    Case("POST /forbidden/x", 403, None, b"amount=100"),
    Case("GET /allowed/x%2Fy?z", 200, "/allowed/x%2Fy?z"),
    Case("POST /allowed/x", 200, "/allowed/x", b"amount=100"),
    Case("GET /files/here", 200, None),
    Case("GET /files/not%2Fhere?z=1", 200, "/files/not%2Fhere?z=1"),
    Case("GET /status?code=500", 200, "/was-sorry", closes=True),
    Case("GET /status?code=404", 404, "/was-missing"),
    Case("GET /status?code=503", 299, "/status"),
    Case("GET /status?code=418", 418, "/status"),
    Case("GET /moved/x?y=1", 301, None),
    Case("POST /small", 413, None, b"more than ten bytes", closes=True),
    Case("GET /.conductor-announce", 404, "/was-missing"),
]


@pytest.fixture(scope="module")
def announced(module_host: TestHost) -> TestHost:
    """The full block of the operator, and one container."""
    host = module_host
    host.define({"web": merged(UPSTREAM_ONLY, QUICK)})
    files = host.directory / "files"
    files.mkdir(mode=0o755)
    (files / "files").mkdir(mode=0o755)
    (files / "files" / "here").write_text("a file of the operator's\n")
    host.nginx.add_server("zone", "limit_req_zone $server_addr zone=slowly:1m rate=1r/m;\n")
    install_own_server(host, "web", LOCATIONS.replace("{files}", str(files)))
    host.upgrade("r1", check=True)
    return host


def ask(host: TestHost, case: Case) -> tuple[int, bytes, bool, bytes]:
    """Return status, body, whether the connection closes, and the head."""
    with closing(Raw(host.url())) as connection:
        return connection.ask(case)


class Raw(OneConnection):
    """Sends the request line unchanged."""

    def ask(self, case: Case) -> tuple[int, bytes, bool, bytes]:
        head = f"{case.request} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(case.body)}\r\n\r\n"
        self._sock.sendall(head.encode() + case.body)
        answer = self._read()
        return answer.status, answer.body, answer.closes, answer.head


@pytest.mark.parametrize("case", CASES, ids=[case.request for case in CASES])
def test_the_same_answer_with_and_without_the_flag(announced: TestHost, case: Case) -> None:
    flag = announced.runtime_dir / "nginx" / "announce"
    status, body, closes, head = ask(announced, case)
    assert (status, seen(body)) == (case.status, case.path)
    assert closes == case.closes, head
    flag.touch(0o644)
    try:
        told = ask(announced, case)
    finally:
        flag.unlink()
    assert told[:3] == (status, body, True), told


def seen(body: bytes) -> str | None:
    """Return the path that the app received."""
    return str(json.loads(body)["path"]) if body.startswith(b"{") else None


def test_a_rate_limit_still_counts(announced: TestHost) -> None:
    """One request per minute: the first passes, the next is refused, with the flag too."""
    flag = announced.runtime_dir / "nginx" / "announce"
    flag.touch(0o644)
    try:
        answers = [ask(announced, Case("GET /limited", 0, None)) for _ in range(3)]
    finally:
        flag.unlink()
    assert [(status, closes) for status, _, closes, _ in answers] == [(200, True), (503, True), (503, True)]


def test_a_websocket_and_an_upload_that_start_while_the_flag_exists(announced: TestHost) -> None:
    flag = announced.runtime_dir / "nginx" / "announce"
    flag.touch(0o644)
    try:
        with closing(WebSocket(announced.url())) as socket:
            assert socket.answer.revision == "r1"
            assert socket.echo(b"hello") == b"hello"
            upload = SlowUpload(announced.url("web", "/upload"))
            upload.finish_after(0.5)
            answer = upload.result(10)
            assert (answer.status, answer.closes, json.loads(answer.body)["received"]) == (200, True, 20000)
            assert socket.echo(b"again") == b"again"
    finally:
        flag.unlink()
