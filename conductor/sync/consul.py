"""Consul, by its HTTP API: `GET /v1/kv/KEY` with a blocking query, as its documentation describes."""

import msgspec

from conductor.json_text import decode
from conductor.sync.source import CALL_SECONDS, Address, Found, Servers, unreadable

WAIT_SECONDS = 10  # Consul adds up to a sixteenth


class _Key(msgspec.Struct):
    ModifyIndex: int
    Value: bytes | None = None


class Consul:
    """Implements `Source`. `credentials` are a token, or empty."""

    def __init__(self, address: Address, credentials: str) -> None:
        self._address = address
        self._headers = {"X-Consul-Token": credentials} if credentials else {}
        self._servers = Servers(address)
        self._index = 0

    def read(self, seen: str | None) -> Found | None:
        """Return the value; if a version was seen, once there is another one, or None after some seconds."""
        query, seconds = "", CALL_SECONDS
        if seen is not None and self._index > 0:
            query, seconds = f"?index={self._index}&wait={WAIT_SECONDS}s", CALL_SECONDS + WAIT_SECONDS * 17 / 16
        index, self._index = self._index, 0  # an answer to a call without an index comes at once
        response = self._servers.request("GET", f"/v1/kv/{self._address.key}{query}", self._headers, seconds=seconds)
        if response.status == 404:
            raise unreadable(self._address, "Consul has no such key")
        if response.status != 200:
            raise unreadable(self._address, f"Consul: HTTP status {response.status}")
        try:
            [found] = decode(response.body, tuple[_Key])
            answered = int(response.headers["x-consul-index"])
        except (ValueError, KeyError) as error:
            raise unreadable(self._address, "unexpected response: not a Consul key") from error
        self._index = answered if answered >= index else 0  # an index that goes backwards is no longer valid
        version = str(found.ModifyIndex)
        return None if version == seen else Found(found.Value or b"", version)
