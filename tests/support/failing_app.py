"""The fixture app, which fails one of N answers in the revision of a file `/failing/REVISION` with the number N, or is slow.

The file has `errors N` or `slow SECONDS`. The health check always passes.
"""

import importlib.util
import sys
import time
from pathlib import Path

spec = importlib.util.spec_from_file_location("app", "/app/app.py")
assert spec is not None
assert spec.loader is not None
app = importlib.util.module_from_spec(spec)
sys.modules["app"] = app
spec.loader.exec_module(app)
FAULT = Path("/failing", app.REVISION)
kind, _, number = (FAULT.read_text() if FAULT.exists() else "none 0").partition(" ")


class Failing(app.Requests):
    """Counts its answers."""

    answered = 0

    def _send(self, status: int, content: dict[str, object], *, keep: bool, extra: str = "") -> None:
        if content.get("path") != "/health":
            Failing.answered += 1
            if kind == "errors" and Failing.answered % int(number) == 0:
                status = 500
            if kind == "slow":
                time.sleep(float(number))
        super()._send(status, content, keep=keep, extra=extra)


app.Requests = Failing
app.asyncio.run(app.serve())
