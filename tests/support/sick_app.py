"""The fixture app with a fault that comes and goes at run time: that of the file `/sick/ADDRESS`, or of `/sick/all`.

A fault of the letters F and S, such as FFS, is how its health checks go in turns: F fails with a 500, S succeeds.
It lies on a volume over the image's own, so that any test may make one container of several misbehave.
"""

import importlib.util
import socket
import sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("app", "/app/app.py")
assert spec is not None
assert spec.loader is not None
app = importlib.util.module_from_spec(spec)
sys.modules["app"] = app
spec.loader.exec_module(app)
ADDRESS = socket.gethostbyname(socket.gethostname())


class Sick(app.Requests):
    """Looks before each answer how it is."""

    asked = 0

    def data_received(self, data: bytes) -> None:
        files = [Path("/sick") / name for name in (ADDRESS, "all")]
        self.fault = next((path.read_text().strip() for path in files if path.exists()), "")
        if data.startswith(b"GET /health "):
            print("asked", flush=True)
            if self.fault and set(self.fault) <= {"F", "S"}:
                self.fault = "500" if self.fault[Sick.asked % len(self.fault)] == "F" else ""
            Sick.asked += 1
        super().data_received(data)


app.Requests = Sick
app.asyncio.run(app.serve())
