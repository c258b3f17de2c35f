"""The Docker API without its SDK, for floors."""

import http.client
import json
import socket
from typing import Any
from urllib.parse import quote


class DockerHttp(http.client.HTTPConnection):
    """A connection to the daemon's unix socket."""

    def __init__(self, url: str) -> None:
        super().__init__("docker", timeout=60)
        self._path = url.removeprefix("unix://")

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def list_call(url: str, instance: str) -> list[dict[str, Any]]:
    """Return all containers of an instance, by one call."""
    filters = quote(json.dumps({"label": [f"conductor.instance={instance}"]}))
    connection = DockerHttp(url)
    connection.request("GET", f"/containers/json?all=1&filters={filters}")
    found: list[dict[str, Any]] = json.loads(connection.getresponse().read())
    connection.close()
    return found
