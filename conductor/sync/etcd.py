"""etcd 3.4 or later, by its JSON gateway: `POST /v3/kv/range`, with Base64 for keys and values."""

from typing import Any, TypeVar

import msgspec

from conductor.json_text import decode
from conductor.sync.source import Address, Found, Servers, unreadable

T = TypeVar("T")


class _Header(msgspec.Struct):
    cluster_id: str


class _KeyValue(msgspec.Struct):
    mod_revision: str
    value: bytes = b""


class _Range(msgspec.Struct):
    header: _Header
    kvs: tuple[_KeyValue, ...] = ()


class _Authenticated(msgspec.Struct):
    token: str


class _Failed(msgspec.Struct):
    message: str


class Etcd:
    """Implements `Source`. `credentials` are NAME:PASSWORD, or empty."""

    def __init__(self, address: Address, credentials: str) -> None:
        self._address, self._credentials = address, credentials
        self._servers = Servers(address)
        self._token = ""

    def read(self, seen: str | None) -> Found | None:
        """Return the value, after a request for its version alone if one was seen."""
        if seen is not None and self._range(keys_only=True).version == seen:
            return None
        return self._range(keys_only=False)

    def _range(self, *, keys_only: bool) -> Found:
        if self._credentials and not self._token:
            name, _, password = self._credentials.partition(":")
            self._token = self._post(
                "/v3/auth/authenticate", {"name": name, "password": password}, _Authenticated
            ).token
        token, self._token = self._token, ""  # after a failure, the next call gets a new one: it may have expired
        answer = self._post("/v3/kv/range", {"key": self._address.key.encode(), "keys_only": keys_only}, _Range, token)
        self._token = token
        if not answer.kvs:
            raise unreadable(self._address, "etcd has no such key")
        found = answer.kvs[0]
        # The revision counts from 1 again in another cluster, for example one that was restored from a backup.
        return Found(found.value, f"{answer.header.cluster_id}/{found.mod_revision}")

    def _post(self, path: str, body: dict[str, Any], shape: type[T], token: str = "") -> T:
        headers = {"Authorization": token} if token else {}
        response = self._servers.request("POST", path, headers, msgspec.json.encode(body))
        try:
            if response.status == 200:
                return decode(response.body, shape)
            message = decode(response.body, _Failed).message
        except ValueError as error:
            raise unreadable(self._address, "unexpected response; is this etcd 3.4 or later?") from error
        raise unreadable(self._address, f"etcd: {message}")
