"""Asks every address of a host again and again, and remembers who answered: the wrong app, once, is one too many."""

import http.client
import json
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

PAUSE_SECONDS = 0.02


class Seen(NamedTuple):
    """One answer, or none: `status` 0 with the reason in `said`."""

    at: float
    service: str
    status: int
    answered: str
    revision: str
    said: str


class Witness:
    """`with Witness(address, {"shop": 8081}) as witness`: a thread for each service, fresh connections only."""

    def __init__(self, address: str, ports: Mapping[str, int]) -> None:
        self._address = address
        self._ports = dict(ports)
        self.seen: list[Seen] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(name,), daemon=True) for name in ports]

    def __enter__(self) -> "Witness":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wrong(self) -> list[Seen]:
        """Answers of another service than the one that was asked."""
        return [one for one in list(self.seen) if one.answered not in {"", one.service}]

    def revisions(self, service: str, since: float = 0.0) -> list[str]:
        """Those that answered for a service, each as often as it took over from another."""
        found: list[str] = []
        for one in list(self.seen):
            if one.service == service and one.status == 200 and one.at >= since and found[-1:] != [one.revision]:
                found.append(one.revision)
        return found

    def failures(self, service: str, since: float = 0.0) -> list[Seen]:
        """What was not answered by 200."""
        return [one for one in list(self.seen) if one.service == service and one.at >= since and one.status != 200]

    def _watch(self, service: str) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            self.seen.append(ask(self._address, self._ports[service], service))


def ask(address: str, port: int, service: str = "", *, timeout: float = 2.0) -> Seen:
    """One request on a fresh connection."""
    at = time.monotonic()
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read()
        told = json.loads(body) if answer.status == 200 else {}
        return Seen(at, service, answer.status, told.get("service", ""), told.get("revision", ""), "")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Seen(at, service, 0, "", "", f"{type(error).__name__}: {error}")
    finally:
        connection.close()
