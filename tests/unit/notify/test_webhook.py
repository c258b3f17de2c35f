"""The webhook against a real server on 127.0.0.1: the request, the answers, and that no error has the URL."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.definitions.section import SecretRef
from conductor.errors import ConductorError
from conductor.notify.webhook import post, url_of

DOCUMENT = b'{"version": 1}\n'
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
TLS_HANDSHAKE = b"\x16"
PATH = "/hooks/hunter2?x=y"


class Server:
    """Answers each request with the same bytes; with None, never. `requests` are those received."""

    def __init__(self, answer: bytes | None, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = self._listening.accept()
                with raw, contextlib.suppress(OSError):
                    self._respond(self._tls.wrap_socket(raw, server_side=True) if self._tls else raw)

    def _respond(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        request = data = connection.recv(65536)
        while data and not request.endswith(DOCUMENT) and not request.startswith(TLS_HANDSHAKE):
            data = connection.recv(65536)
            request += data
        self.requests.append(request)
        if self._answer is None:
            self._ended.wait(10)
        else:
            connection.sendall(self._answer)
        connection.close()

    def close(self) -> None:
        self._ended.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)


@contextlib.contextmanager
def serving(answer: bytes | None, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(answer, tls)
    try:
        yield server
    finally:
        server.close()


def failure(webhook: str | SecretRef, seconds: float = 5.0) -> str:
    with pytest.raises(ConductorError) as caught:
        post(webhook, DOCUMENT, seconds)
    shown = f"{caught.value.sentence} {caught.value.details} {caught.value.__cause__}"
    assert "hunter2" not in shown
    assert "127.0.0.1" not in shown
    return caught.value.sentence


def test_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(OK) as server:
        post(f"http://127.0.0.1:{server.port}{PATH}", DOCUMENT, 5)
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == f"POST {PATH} HTTP/1.1"
    assert headers["Host"] == f"127.0.0.1:{server.port}"
    assert headers["Content-Type"] == "application/json"
    assert (headers["Content-Length"], body) == (str(len(DOCUMENT)), DOCUMENT)


@pytest.mark.parametrize(("target", "sent"), [("", "/"), ("/", "/"), ("?a=b", "/?a=b"), ("/a/b", "/a/b")])
def test_the_target(target: str, sent: str) -> None:
    with serving(OK) as server:
        post(f"http://127.0.0.1:{server.port}{target}", DOCUMENT, 5)
        assert server.requests[0].startswith(f"POST {sent} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.1 500 hunter2\r\nContent-Length: 0\r\n\r\n", "the webhook returned 500"),
        (b"HTTP/1.1 404 Not Found\r\n\r\nhunter2", "the webhook returned 404"),
        (b"SSH-2.0-hunter2\r\n", "cannot reach the webhook: its response is not HTTP"),
        (b"", "cannot reach the webhook: the connection was closed without a response"),
    ],
)
def test_a_bad_answer(answer: bytes, sentence: str) -> None:
    with serving(answer) as server:
        assert failure(f"http://127.0.0.1:{server.port}{PATH}") == sentence


def test_a_redirect_is_not_followed() -> None:
    with serving(OK) as other:
        location = f"Location: http://127.0.0.1:{other.port}/\r\n".encode()
        with serving(b"HTTP/1.1 307 Temporary Redirect\r\n" + location + b"\r\n") as server:
            sentence = failure(f"http://127.0.0.1:{server.port}{PATH}")
        assert sentence == "the webhook returned 307 (a redirect is not followed)"
        assert other.requests == []


def test_no_answer() -> None:
    began = time.monotonic()
    with serving(None) as server:
        assert failure(f"http://127.0.0.1:{server.port}{PATH}", 0.1) == "the webhook did not respond within 0.1s"
    assert time.monotonic() - began < 5


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert failure(f"http://127.0.0.1:{port}{PATH}") == "cannot reach the webhook: Connection refused"


@pytest.mark.parametrize(
    ("url", "cause"),
    [("http://127.0.0.1:99999/hunter2", "its port is not valid"), ("http://../hunter2", "its host name is not valid")],
)
def test_an_impossible_address(url: str, cause: str) -> None:
    assert failure(url) == f"cannot reach the webhook: {cause}"


def test_the_url_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "url"
    written = SecretRef(file=str(path))
    assert failure(written) == f"cannot read {path}: No such file or directory"
    for text in ("hunter2", "https://hunter2@example.com/", "https://example.com/hunter2\n\n", ""):
        path.write_text(text)
        assert failure(written) == f"cannot use {path}: it must contain an http:// or https:// URL"
    path.write_bytes(b"https://\xff/hunter2")
    assert failure(written) == f"cannot read {path}: it must be UTF-8 text"
    path.write_text("https://example.com/hunter2\n")
    assert url_of(written) == "https://example.com/hunter2"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    path = tmp_path_factory.mktemp("tls") / "pair.pem"
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=test"]
    files = ["-keyout", str(path), "-out", f"{path}.crt", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", "req", "-x509", *words, *files], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_a_certificate_is_checked(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with serving(OK, tls) as server:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        untrusted = "cannot reach the webhook: its certificate is not valid or not trusted by this host"
        assert failure(f"https://127.0.0.1:{server.port}{PATH}") == untrusted
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert failure(f"https://localhost:{server.port}{PATH}") == untrusted  # of another name
        assert server.requests == []
        post(f"https://127.0.0.1:{server.port}{PATH}", DOCUMENT, 5)
        assert len(server.requests) == 1


def test_a_server_without_tls() -> None:
    with serving(OK) as server:
        sentence = failure(f"https://127.0.0.1:{server.port}{PATH}")
    assert sentence == "cannot reach the webhook: the TLS handshake failed"
