"""Central stores for tests: Debian's etcd and ZooKeeper, and an HTTP server that answers as Consul documents for its keys."""

import base64
import contextlib
import json
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from kazoo.client import KazooClient

from tests.support.claims import Claims

START_SECONDS = 60.0  # a loaded machine starts Java slowly
CLASS_PATH = "/usr/share/java/zookeeper.jar"
KEY = "conductor/web1"


class Server:
    """A store in a process of its own. `with Server(directory) as store`; what was put survives `stop` and `start`."""

    kind = ""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir()
        self.claims = Claims()
        self.port = self.claims.port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.kind}://127.0.0.1:{self.port}/{KEY}"

    def words(self) -> list[str]:
        """The command of the server. Each store has its own."""
        raise NotImplementedError

    def answers(self) -> None:
        """Raise while the server is not responding. Each store has its own."""
        raise NotImplementedError

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self.words(), stdout=log, stderr=log, cwd=self.directory)
        wait_until(self.answers, START_SECONDS)

    def stop(self, number: int = signal.SIGKILL) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.claims.release()


class Etcd(Server):
    kind = "etcd"

    def __init__(self, directory: Path, *certificate: Path) -> None:
        super().__init__(directory)
        self._certificate = certificate
        self._peer = f"http://127.0.0.1:{self.claims.port()}"
        self._scheme = "https" if certificate else "http"
        self.token = ""

    def words(self) -> list[str]:
        address = f"{self._scheme}://127.0.0.1:{self.port}"
        tls = [f"--{name}={path}" for name, path in zip(("cert-file", "key-file"), self._certificate, strict=False)]
        return [
            "etcd", "--data-dir", f"{self.directory}/data", "--listen-client-urls", address, *tls,
            "--advertise-client-urls", address, "--listen-peer-urls", self._peer,
            "--initial-advertise-peer-urls", self._peer, "--initial-cluster", f"default={self._peer}",
        ]  # fmt: skip

    def answers(self) -> None:
        self.call("kv/range", {"key": encoded("x")})

    def put(self, value: bytes) -> None:
        self.call("kv/put", {"key": encoded(KEY), "value": base64.b64encode(value).decode()})

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        import ssl

        url = f"{self._scheme}://127.0.0.1:{self.port}/v3/{path}"
        headers = {"Authorization": self.token} if self.token else {}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        context = ssl._create_unverified_context() if self._certificate else None
        with urllib.request.urlopen(request, timeout=5, context=context) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    def require(self, name: str, password: str) -> None:
        """Nobody reads without a password from here on."""
        self.call("auth/user/add", {"name": "root", "password": password})
        self.call("auth/user/grant", {"user": "root", "role": "root"})
        self.call("auth/user/add", {"name": name, "password": password})
        self.call("auth/role/add", {"name": "reader"})
        permission = {"permType": "READ", "key": encoded(KEY)}
        self.call("auth/role/grant", {"name": "reader", "perm": permission})
        self.call("auth/user/grant", {"user": name, "role": "reader"})
        self.call("auth/enable", {})
        self.token = self.call("auth/authenticate", {"name": "root", "password": password})["token"]


class ZooKeeper(Server):
    kind = "zookeeper"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        text = (
            f"dataDir={directory}/data\nclientPort={self.port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
        )
        (directory / "zoo.cfg").write_text(f"tickTime=500\n{text}")

    def words(self) -> list[str]:
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        return ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", CLASS_PATH, main, str(self.directory / "zoo.cfg")]

    def answers(self) -> None:
        self._with_client(lambda client: client.exists("/"))

    def put(self, value: bytes) -> None:
        def write(client: KazooClient) -> None:
            client.ensure_path(f"/{KEY}")
            client.set(f"/{KEY}", value)

        self._with_client(write)

    def require(self, name: str, password: str) -> None:
        from kazoo.security import make_digest_acl

        acl = make_digest_acl(name, password, read=True)
        self._with_client(lambda client: client.set_acls(f"/{KEY}", [acl]))

    def _with_client(self, act: Callable[[Any], object]) -> None:
        client = KazooClient(f"127.0.0.1:{self.port}")
        try:
            client.start(timeout=5)
            act(client)
        finally:
            client.stop()
            client.close()


class QuietServer(ThreadingHTTPServer):
    """Its clients may be killed."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass


class Consul(Server):
    """No Consul: the answers of `GET /v1/kv/KEY` that its documentation describes, with blocking queries and tokens."""

    kind = "consul"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._changed = threading.Condition()
        self._value: bytes | None = None
        self._index = 10  # a store has other keys as well
        self._modified = 0
        self._token = ""
        self.queries: list[str] = []

    def start(self) -> None:
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    store._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = QuietServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self, number: int = signal.SIGKILL) -> None:
        self._server.shutdown()
        self._server.server_close()
        with self._changed:  # the blocked calls end with their connections
            self._index += 1
            self._changed.notify_all()

    def put(self, value: bytes) -> None:
        with self._changed:
            self._index += 1
            self._value, self._modified = value, self._index
            self._changed.notify_all()

    def require(self, name: str, password: str) -> None:
        self._token = f"{name}:{password}"

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        self.queries.append(parts.query)
        index, wait = int(query.get("index", ["0"])[0]), float(query.get("wait", ["0s"])[0].removesuffix("s"))
        with self._changed:
            self._changed.wait_for(lambda: self._index > index, wait if index else 0)
            found = [{
                "LockIndex": 0, "Key": KEY, "Flags": 0, "Value": base64.b64encode(self._value or b"").decode() or None,
                "CreateIndex": 1, "ModifyIndex": self._modified,
            }]  # fmt: skip
            status, body = (200, json.dumps(found).encode()) if self._value is not None else (404, b"")
            if self._token and request.headers["X-Consul-Token"] != self._token:
                status, body = 403, b"Permission denied"
            request.send_response(status)
            request.send_header("X-Consul-Index", str(self._index))
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


STORES = {"etcd": Etcd, "zookeeper": ZooKeeper, "consul": Consul}


def encoded(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def wait_until(works: Callable[[], object], seconds: float) -> None:
    """Call until it raises nothing."""
    until = time.monotonic() + seconds
    while True:
        try:
            works()
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return
