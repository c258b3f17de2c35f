"""ZooKeeper, by kazoo: one session, whose thread connects again. The only module that imports kazoo."""

import logging
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

from conductor.sync.source import CALL_SECONDS, Address, Found, unreadable

SESSION_SECONDS = 6.0
RETRY_SECONDS = 0.5  # at most, between two attempts to connect; kazoo's own limit is 60 s


class ZooKeeper:
    """Implements `Source`. `credentials` are NAME:PASSWORD of the scheme digest, or empty."""

    def __init__(self, address: Address, credentials: str) -> None:
        self._address = address
        self._auth = [("digest", credentials)] if credentials else []
        self._client: Any = None

    def read(self, seen: str | None) -> Found | None:
        """Return the value, after a request for its version alone if one was seen."""
        try:
            client, path = self._connected(), f"/{self._address.key}"
            if seen is not None:
                stat = client.exists_async(path).get(timeout=CALL_SECONDS)
                if stat is not None and str(stat.mzxid) == seen:
                    return None
            data, stat = client.get_async(path).get(timeout=CALL_SECONDS)
        except NoNodeError as error:
            raise unreadable(self._address, "ZooKeeper has no such node") from error
        except (KazooException, OSError, KazooTimeoutError) as error:
            raise unreadable(self._address, f"no response from ZooKeeper ({type(error).__name__})") from error
        return Found(data, str(stat.mzxid))

    def _connected(self) -> Any:
        if self._client is None:
            hosts = ",".join(
                f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self._address.hosts
            )
            quiet = logging.getLogger("kazoo")
            quiet.setLevel(logging.CRITICAL + 1)  # what matters is raised
            client = KazooClient(
                hosts=hosts,
                timeout=SESSION_SECONDS,
                auth_data=self._auth,
                connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": RETRY_SECONDS},
                logger=quiet,
            )
            client.start(timeout=CALL_SECONDS)  # kazoo stops the client when this fails
            self._client = client
        if not self._client.connected:
            raise unreadable(self._address, "no connection to ZooKeeper")
        return self._client
