"""Debian's `monit` with the health checks of `supervise`."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

BINARY = shutil.which("monit", path="/usr/bin")
PERIOD_SECONDS = 5
CHECK = """\
check host replica{number} with address {ip}
    if failed port {port} protocol http request "/health" with timeout 5 seconds then alert
"""


@contextlib.contextmanager
def monit(directory: Path, address: str, checks: int) -> Iterator[int | None]:
    """Run monit with this many checks of an address in each period; yield its pid, or None if it is not installed."""
    if not BINARY:
        print("monit: not installed")
        yield None
        return
    directory.mkdir()
    ip, _, port = address.partition(":")
    files = "".join(f"set {kind}file {directory}/{kind}\n" for kind in ("log", "pid", "id", "state"))
    lines = "".join(CHECK.format(number=number, ip=ip, port=port) for number in range(checks))
    config = directory / "monitrc"
    config.write_text(f"set daemon {PERIOD_SECONDS}\n{files}{lines}")
    config.chmod(0o600)
    process = subprocess.Popen([BINARY, "-I", "-c", config], stdout=subprocess.DEVNULL)
    try:
        yield process.pid
        assert process.poll() is None, "monit has ended"
        assert "failed" not in (log := (directory / "log").read_text()), log
    finally:
        process.kill()
        process.wait()
