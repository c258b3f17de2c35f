"""The peers in the text of a service's file, where nginx chooses them with Lua (`cutover: live`) (pure).

They are one JSON document, which is also set in the running nginx when the peers alone change, without a reload. As an
argument of a Lua call it is read by nginx itself when it starts or is reloaded.
"""

from collections.abc import Mapping

import msgspec

from conductor.json_text import decode
from conductor.plan.route import Split

LUA_FILE = "conductor.lua"
_BEGIN, _END = "local peers = '", "'"  # around the document, which has no quote of this kind


class Peers(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The endpoints of a service. A later set of peers has a higher generation, which is never used again."""

    service: str
    generation: int
    endpoints: tuple[str, ...]
    split: Split | None = None

    @property
    def all_endpoints(self) -> frozenset[str]:
        """Every endpoint that gets requests."""
        return frozenset(self.endpoints + (self.split.endpoints if self.split else ()))


def encoded(peers: Peers) -> str:
    """Return the peers as JSON, in one line without spaces."""
    return msgspec.json.encode(peers).decode()


def decoded(text: str) -> Peers | None:
    """Return the peers of a JSON document; None when it is damaged, or of another version of Conductor."""
    try:
        return decode(text, Peers)
    except (msgspec.MsgspecError, UnicodeError):
        return None


def statement(peers: Peers) -> str:
    """Return the peers as a statement of Lua."""
    return f"{_BEGIN}{encoded(peers)}{_END}"


def peers_of(text: str | None) -> Peers | None:
    """Return the peers in the text of a service's file; None when nginx does not choose them with Lua."""
    return _parts(text)[1]


def without_peers(text: str) -> str:
    """Return a text without the peers and their generation: what nginx must be reloaded for."""
    before, _, after = _parts(text)
    return before + after


def differ(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """True when the texts of two sets of files differ in more than their peers."""
    first, second = ({name: without_peers(text) for name, text in files.items()} for files in (before, after))
    return first != second


def with_generation(text: str, generation: int) -> str:
    """Return the text with another generation of its peers."""
    before, peers, after = _parts(text)
    return before + statement(msgspec.structs.replace(peers, generation=generation)) + after if peers else text


def _parts(text: str | None) -> tuple[str, Peers | None, str]:
    before, _, rest = (text or "").partition(_BEGIN)
    document, _, after = rest.partition(_END)
    peers = decoded(document)
    return (before, peers, after) if peers else (text or "", None, "")
