"""What the Docker daemon shows of one instance, asked through the SDK and not through Conductor."""

import os
from typing import Any, NamedTuple

import docker
import docker.errors

from tests.support.images import APP

LABEL = "conductor."
SOCKET = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


class Container(NamedTuple):
    """One container of the instance."""

    id: str
    name: str
    state: str
    address: str
    labels: dict[str, str]

    @property
    def service(self) -> str:
        return self.labels.get("conductor.service", "")

    @property
    def revision(self) -> str:
        return self.labels.get("conductor.revision", "")

    @property
    def kind(self) -> str:
        return self.labels.get("conductor.kind", "")


class Daemon:
    """One connection; `api` is the SDK's low-level client, for what tests do by hand."""

    def __init__(self, instance: str, network: str, url: str = SOCKET) -> None:
        self.url = url
        self.api: Any = docker.APIClient(base_url=url, version="auto", timeout=60)
        self._instance = instance
        self._network = network
        self._known = {c["Id"] for c in self.api.containers(all=True)}

    def containers(self, service: str | None = None) -> list[Container]:
        """By labels, exited ones too, in the order of their names."""
        labels = [f"{LABEL}instance={self._instance}", *([f"{LABEL}service={service}"] if service else [])]
        return sorted(map(_container, self.api.containers(all=True, filters={"label": labels})), key=lambda c: c.name)

    def networks(self) -> list[str]:
        """Ids of the instance's networks, by label or by the name that its definitions give."""
        return [
            n["Id"]
            for n in self.api.networks()
            if n["Name"] == self._network or (n["Labels"] or {}).get(f"{LABEL}instance") == self._instance
        ]

    def unlabelled(self) -> list[str]:
        """Containers that somebody made for this instance, by network or image, without the label that finds them again."""
        return [
            f"container {c['Names'][0]} ({c['State']}, {c['Image']}) has no label {LABEL}instance"
            for c in self.api.containers(all=True)
            if c["Id"] not in self._known and f"{LABEL}instance" not in c["Labels"] and self._is_ours(c)
        ]

    def remove_all(self) -> None:
        """Every container of the instance or on its network, then the networks."""
        for container in self.api.containers(all=True):
            if container["Labels"].get(f"{LABEL}instance") == self._instance or self._on_network(container):
                _gone(self.api.remove_container, container["Id"], force=True, v=True)
        for network in self.networks():
            _gone(self.api.remove_network, network)

    def close(self) -> None:
        """Close the connection."""
        self.api.close()

    def _on_network(self, container: dict[str, Any]) -> bool:
        return self._network in container["NetworkSettings"]["Networks"]

    def _is_ours(self, container: dict[str, Any]) -> bool:
        """Another test's containers of the same image are labelled, live on its private network, or are called after it."""
        names = [*container["NetworkSettings"]["Networks"], *(name.lstrip("/") for name in container["Names"])]
        elsewhere = any(name.startswith("conductor-test-") and not name.startswith(self._network) for name in names)
        return self._on_network(container) or (container["Image"].startswith(f"{APP}:") and not elsewhere)


def _container(listed: dict[str, Any]) -> Container:
    addresses = [n["IPAddress"] for n in listed["NetworkSettings"]["Networks"].values() if n["IPAddress"]]
    name = listed["Names"][0].lstrip("/") if listed["Names"] else ""
    return Container(listed["Id"], name, listed["State"], addresses[0] if addresses else "", listed["Labels"])


def _gone(remove: Any, *args: Any, **options: Any) -> None:
    try:
        remove(*args, **options)
    except docker.errors.NotFound:
        pass
    except docker.errors.APIError as error:
        if "already in progress" not in str(error) and not _miscounted(remove.__self__, args[0], error):
            raise


def _miscounted(api: Any, network: str, error: Exception) -> bool:
    """Docker 20.10 counts the endpoints of a network wrongly when one of twenty containers that end together is removed the
    moment it has ended (measured with `docker run` and `docker rm`: two of nine rounds; no address is lost). Such a
    network goes when the daemon restarts.
    """
    return "has active endpoints" in str(error) and not api.inspect_network(network)["Containers"]
