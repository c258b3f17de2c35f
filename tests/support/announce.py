"""How long a host's nginx announces a reload to its clients."""

import yaml

from conductor.definitions.host import HostNginx
from conductor.definitions.scalars import Seconds


def announce_seconds(definitions: str) -> float | None:
    """Return it from the text of the host's definitions; None with `cutover: live`, where every lost request counts."""
    nginx = (yaml.safe_load(definitions).get("host") or {}).get("nginx") or {}
    default = HostNginx()
    if nginx.get("cutover", default.cutover) != "reload":
        return None
    return Seconds.parse(nginx["announce"]) if "announce" in nginx else default.announce
