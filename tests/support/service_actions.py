"""Actions on the service `web`, and checks of their results."""

import re
from typing import Any

from tests.support.commands import Result
from tests.support.host import TestHost


def service(host: TestHost, action: str, *more: str, **options: Any) -> Result:
    """Run `conductor service ACTION --id web …`."""
    return host.conductor("service", action, "--id", "web", *more, **options)


def done(result: Result, text: str) -> str:
    """Check that a command ended with `text` as its last line and without a warning; return its stderr."""
    assert "warning" not in result.expect(0).stderr, str(result)
    assert re.search(rf"^{re.escape(text)} \((?:\d+(?:\.\d+)?[dhms])+\)$", result.stderr, re.MULTILINE), str(result)
    return result.stderr


def last(host: TestHost) -> tuple[str, str, str, int, str]:
    """Return (action, from, to, count, outcome) of the last entry of the history."""
    entry = host.history()[-1]
    return entry["action"], entry["from"], entry["to"], entry["count"], entry["outcome"]
