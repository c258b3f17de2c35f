"""The manual's page of faults, made of a file that the campaign writes with CONDUCTOR_RECORD=1."""

import json
from collections.abc import Mapping
from typing import Any

from tests.support.commands import ROOT
from tests.support.compatibility import table

FILE = ROOT / "tests" / "faults" / "results.json"
PAGE = ROOT / "conductor" / "manual" / "faults.md"
COLUMNS = ("points", "survived", "requests", "lost")
HEAD = """\
# Faults

What happens when Conductor, Docker or the disk fails in the middle of an action.

Each row is a campaign on a real host: one action is repeated, once for every point of
it, with a fault at that point. Then `conductor supervise --once` or the next upgrade
runs, in turns. A point is survived if after that

- one release of all services runs, with the right number of replicas,
- no container, network, reserved address, journal or nginx file is left over, and after
  an upgrade no unfinished file,
- no request was lost, of 6 clients that send requests to the web service all the time.

The faults:

- `kills`: SIGKILL for Conductor at each request to Docker, before or after Docker has
  done it; before and after each run of nginx; at each `rename`, `fsync`, `unlink` and
  `kill`, which signals nginx.
- `daemon`: at each request to Docker an error, a lost connection (both with and without
  the request done), or an answer that comes 2 s late.
- `disk`: `rename` or `fsync` fails, with EIO and with ENOSPC.

This command runs all campaigns and writes this page. It takes hours:

```
CONDUCTOR_RECORD=1 tests/run long tests/faults
```

"""


def record(name: str, numbers: Mapping[str, int]) -> None:
    """Write the numbers of one campaign and the page of all."""
    found: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    found[name] = dict(numbers)
    FILE.write_text(json.dumps(dict(sorted(found.items())), indent=2) + "\n")
    PAGE.write_text(page(found))


def page(found: Mapping[str, Mapping[str, int]]) -> str:
    """Return the page, with a row for each campaign."""
    return HEAD + table(
        list(COLUMNS), {name: [str(one[key]) for key in COLUMNS] for name, one in sorted(found.items())}
    )
