"""Debian's docker-registry on 127.0.0.1, behind a door that can be shut in the middle of an answer; with a password or without.

Packing and sending the layers of the test app takes seconds, so they are sent once in a process. Later registries start with them.
"""

import atexit
import base64
import contextlib
import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
from pathlib import Path

from tests.support.claims import Claims
from tests.support.daemon import SOCKET
from tests.support.images import APP

USER = "deploy"
START_SECONDS = 10.0
CHUNK = 65536
BLOBS, LAYERS = Path("blobs"), Path("repositories/shop/app/_layers")  # of the registry's files


class DockerRegistry:
    """`with DockerRegistry(directory) as registry`; images are named `registry.image`. Nothing of it stays in the daemon."""

    def __init__(self, directory: Path, *, password: str = "") -> None:
        self._directory = directory
        self._files = directory / "data/docker/registry/v2"
        self._password = password
        self._claims = Claims()
        self._inner = self._claims.port()
        self._door = _Door(self._claims.port(), self._inner)
        self.address = f"127.0.0.1:{self._door.port}"
        self.image = f"{self.address}/shop/app"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "DockerRegistry":
        import docker

        self._directory.mkdir()
        if _SENT:
            _copy_layers(_SENT[0], self._files)
        self.api = docker.APIClient(base_url=SOCKET, version="auto", timeout=120)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        import docker.errors

        self.stop()
        for image in self.api.images():
            for name in {*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())}:
                if name.startswith(f"{self.address}/"):
                    with contextlib.suppress(docker.errors.ImageNotFound):  # it went with another of its names
                        self.api.remove_image(name, force=True)
        self.api.close()
        self._claims.release()

    def start(self) -> None:
        """Serve, with all that was pushed before."""
        settings = f"""\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {self._directory}/data}}}}
http: {{addr: "127.0.0.1:{self._inner}"}}
"""
        if self._password:
            words = ["htpasswd", "-Bbn", "-C", "5", USER, self._password]
            told = subprocess.run(words, capture_output=True, check=True).stdout
            (self._directory / "htpasswd").write_bytes(told)
            settings += f"auth: {{htpasswd: {{realm: tests, path: {self._directory}/htpasswd}}}}\n"
        config = self._directory / "config.yml"
        config.write_text(settings)
        with (self._directory / "log").open("ab") as log:
            words = ["docker-registry", "serve", str(config)]
            self._process = subprocess.Popen(
                words, stdout=log, stderr=log, env={**os.environ, "OTEL_SDK_DISABLED": "1"}
            )
        until = time.monotonic() + START_SECONDS
        while not _answers(self._inner):
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError(f"docker-registry did not start:\n{(self._directory / 'log').read_text()}")
            time.sleep(0.02)
        self._door.open()

    def stop(self) -> None:
        """Gone: connections are refused."""
        self._door.shut()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop_after(self, count: int) -> None:
        """Gone as soon as so many bytes were answered from now on."""
        self._door.shut_after(count)

    @property
    def is_shut(self) -> bool:
        return self._door.is_shut

    def push(self, tag: str, *, layer_bytes: int = 0, base: str = "r1") -> None:
        """An image of the fixture app that says REVISION=`tag`, with a layer that nobody else has; only the registry keeps it."""
        recipe = f"FROM {APP}:{base}\nENV REVISION={tag}\nCOPY filling /filling\n"
        content = secrets.token_bytes(max(layer_bytes, 16))
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as tar:
            for name, data in (("Dockerfile", recipe.encode()), ("filling", content)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        reference = f"{self.image}:{tag}"
        words = ["docker", "build", "--quiet", "--tag", reference, "-"]
        subprocess.run(
            words, input=context.getvalue(), check=True, capture_output=True, env={**os.environ, "DOCKER_BUILDKIT": "0"}
        )
        credentials = (
            {"username": USER, "password": self._password} if self._password else {"username": "", "password": ""}
        )
        for message in self.api.push(self.image, tag, stream=True, decode=True, auth_config=credentials):
            if "error" in message:
                raise RuntimeError(f"cannot push {reference}: {message['error']}")
        self.api.remove_image(reference, force=True)
        if not _SENT:
            _SENT.append(Path(tempfile.mkdtemp(prefix="conductor-layers-")))
            atexit.register(shutil.rmtree, _SENT[0], ignore_errors=True)
            _copy_layers(self._files, _SENT[0])

    def login(self, directory: Path, password: str) -> dict[str, str]:
        """The environment of a command whose Docker configuration holds this password."""
        directory.mkdir(exist_ok=True)
        auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
        (directory / "config.json").write_text(json.dumps({"auths": {self.address: {"auth": auth}}}))
        return {"DOCKER_CONFIG": str(directory)}


_SENT: list[Path] = []  # the directory of the layers, once they were sent


def _copy_layers(source: Path, target: Path) -> None:
    """Copy layers without the tags. A blob never changes, so a link is enough."""
    shutil.copytree(source / BLOBS, target / BLOBS, copy_function=os.link)
    shutil.copytree(source / LAYERS, target / LAYERS)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class _Door:
    """Passes connections on to another port, until it is shut: then those that are open break, and new ones are refused."""

    def __init__(self, port: int, inner: int) -> None:
        self.port = port
        self._inner = inner
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._left: int | None = None

    @property
    def is_shut(self) -> bool:
        return self._listener is None

    def open(self) -> None:
        self._left = None
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        with self._lock:
            listener, self._listener = self._listener, None
            ends = [*self._open, *([listener] if listener else [])]
            self._open = []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def shut_after(self, count: int) -> None:
        self._left = count

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._inner))
                with self._lock:
                    self._open += [client, server]
                threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if counted and self._left is not None:
                    self._left -= len(data)
                    if self._left <= 0:
                        self.shut()
                        return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
