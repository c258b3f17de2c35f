"""The manual's page of faults, made of a file that the campaign writes with CONDUCTOR_RECORD=1."""

import fcntl
import json
from collections.abc import Mapping
from typing import Any

from tests.faults.campaign import Tally
from tests.faults.clients import ClientsOf
from tests.support.commands import ROOT
from tests.support.compatibility import table

FILE = ROOT / "tests" / "faults" / "results.json"
PAGE = ROOT / "conductor" / "manual" / "faults.md"
COLUMNS = ("points", "faults", "possible", "survived", "requests", "lost")
HEAD = """\
# Faults

Kills and failures in the middle of actions, with results.

Each row is a campaign on a real host: one action is repeated, with another fault each
time. Then `conductor supervise --once` or the next upgrade runs, in turns; after a kill,
every third time the host restarts first. A point is a place of the action, such as its
fourth request to Docker; `faults` were tried of those that are `possible` at all points.
A fault is survived if after that

- one release of all services runs, with the right number of replicas,
- no container, network, reserved address, journal or nginx file is left over, and after
  an upgrade no unfinished file,
- the history has one entry for each change, and they lead to the release that runs,
- no request was lost, of clients that send requests to the web service all the time.

There are no clients while the host restarts, and none for a repair, which begins when a
replica was removed by hand.

This command runs all campaigns and writes this page. It takes hours; with
`CONDUCTOR_FAULTS=20`, no campaign tries more than 20 faults, evenly spaced:

```
CONDUCTOR_RECORD=1 tests/run long tests/faults
```
"""
TITLES = {
    "kills": """
## Conductor is killed

SIGKILL at each request to Docker, before or after Docker has done it; before and after
each run of nginx; at each `rename`, `fsync`, `unlink` and `kill`, which signals nginx.

""",
    "daemon": """
## Docker answers badly

At each request an error, a lost connection (both with and without the request done),
half an answer, or an answer that comes 2 s late.

""",
    "hangs": """
## Docker does not answer

One request is never answered. Conductor waits for 60 s.

""",
    "disk": """
## The disk refuses a write

Each `rename` and `fsync` fails, with EIO and with ENOSPC.

""",
}
Results = Mapping[str, Mapping[str, Mapping[str, int]]]


def record(kind: str, name: str, tally: Tally, clients: ClientsOf, *, possible: int) -> None:
    """Write the numbers of one campaign and the page of all."""
    with FILE.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # several campaigns run at the same time
        file.seek(0)
        found: dict[str, Any] = json.loads(file.read() or "{}")
        found.setdefault(kind, {})[name] = {
            "points": len(tally.places), "faults": tally.reached, "possible": possible, "survived": tally.reached - len(tally.failures),
            "requests": clients.requests, "lost": clients.lost,
        }  # fmt: skip
        file.truncate(0)
        file.write(json.dumps(found, indent=2, sort_keys=True) + "\n")
        PAGE.write_text(page(found))


def page(found: Results) -> str:
    """Return the page, with a table for each kind of fault and a row for each campaign."""
    tables = (title + _table(found[kind]) for kind, title in TITLES.items() if kind in found)
    return HEAD + "".join(tables)


def _table(rows: Mapping[str, Mapping[str, int]]) -> str:
    total = {key: sum(one[key] for one in rows.values()) for key in COLUMNS}
    numbers = {name: [f"{one[key]:,}" for key in COLUMNS] for name, one in [*sorted(rows.items()), ("total", total)]}
    return table(list(COLUMNS), numbers)
