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

Results of killing Conductor and of injecting faults.

Each row is one series of tests with Docker and nginx on the test machine. Each test
runs the action and injects one fault, for example at the fourth request to Docker.
After a kill, the tests rotate through three ways to recover the services: the next
upgrade, `conductor supervise --once`, and a simulated reboot followed by
`conductor supervise --once`. After any other fault, they alternate between the next
upgrade and `conductor supervise --once`.

`points` is the number of different places chosen for a fault, `faults` the number of
faults injected, and `possible` the number of faults that could have been injected.
`faults` is lower than `points` if an action did not reach a chosen place, and higher if
several kinds of fault were injected at one place. A fault counts as survived if, after
the recovery:

- each service runs exactly one release, with the right number of replicas,
- no container, network, reserved address, journal or nginx file is left over (and, if
  the recovery was an upgrade, no partially written file),
- the history has one entry for each change and agrees with the running release, and
- clients that continuously sent requests to the web service lost none.

No clients run during a simulated reboot, because nginx is down. None run during a
repair, because the test removes a replica first. Workers, including the one with
`order: stop-first`, have no clients, because they are not behind nginx.

Injecting every possible fault takes hours, so `CONDUCTOR_FAULTS=N` limits each series
to N evenly spaced faults. The series below were recorded with different limits. This
command runs every series and writes this page:

```
CONDUCTOR_RECORD=1 CONDUCTOR_FAULTS=20 tests/run long tests/faults
```
"""
TITLES = {
    "kills": """
## Conductor is killed

SIGKILL before or after Docker has processed a request, before or after Conductor
executes `nginx`, or at a `rename`, `fsync`, `unlink` or `kill` (which signals nginx).

""",
    "daemon": """
## Faulty responses from Docker

An error or a lost connection (before or after Docker has processed the request), a
truncated response, or a response delayed by 2 s.

""",
    "hangs": """
## Docker does not respond

One request never gets a response. Conductor waits for 60 s.

""",
    "disk": """
## Write errors

A `rename` or `fsync` fails with EIO or ENOSPC, or a `write` to a file, a socket or the
terminal fails with EIO.

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
