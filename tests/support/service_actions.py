"""The small verbs on `web`, and what they say and write down."""

import re
from typing import Any

from tests.support.commands import Result
from tests.support.host import TestHost


def service(host: TestHost, verb: str, *more: str, **options: Any) -> Result:
    return host.conductor("service", verb, "--id", "web", *more, **options)


def done(result: Result, text: str) -> str:
    """It is done, without a warning, and says what runs."""
    assert "warning" not in result.expect(0).stderr, str(result)
    assert re.search(rf"^{re.escape(text)} \(\d+\.\ds\)$", result.stderr, re.MULTILINE), str(result)
    return result.stderr


def last(host: TestHost) -> tuple[str, str, str, int, str]:
    """The last line of the history: (action, from, to, count, outcome)."""
    line = host.history()[-1]
    return line["action"], line["from"], line["to"], line["count"], line["outcome"]
