"""The state that a host must have after a failure: the live release serves at its count, and nothing of a change is left."""

import fcntl
import json
import time
from typing import Any

from tests.support.commands import Result
from tests.support.host import TestHost

OPERATORS_FILE = ".operator.conf.new"  # in nginx's directory: it only looks like a temporary file of Conductor's
WRITE_SECONDS = 2.0  # a write with its fsyncs takes less, also on a loaded machine

# One container that is healthy at once or never, so that a test of failures waits for the failure only.
QUICK: dict[str, Any] = {
    "count": 1,
    "env": {"BOOT": "0.05"},
    "health": {"start_timeout": "20s", "timeout": "500ms"},
    "nginx": {"drain": "8s"},
    "stop": {"grace": "1s"},
}


def failed(result: Result, code: int, *words: str) -> str:
    """Check that a command ended with `code` and an error that contains all of `words`; return its stderr."""
    result.expect(code)
    told = result.stderr
    assert [word for word in words if word not in told] == [], str(result)
    assert "Traceback" not in told, str(result)
    assert "\nerror: cannot" in f"\n{told}" or code in {130, 143}, str(result)
    return told


def nothing_left_behind(
    host: TestHost, revision: str | None, service: str = "web", *, count: int = 1, unfinished: bool = False
) -> None:
    """Check that exactly the containers of `revision` exist, run, and answer through nginx if the service has a route.

    With a count of 0 nginx must return 503. None: the service was never deployed. `unfinished`: a killed process may have left
    a file that the next action writes again.
    """
    wanted = host.wanted(service)
    live = (wanted or {}).get("release")
    assert (live["revision"] if live else None) == revision
    found = [(c.kind, c.revision, c.labels["conductor.release"], c.state) for c in host.containers(service)]
    assert found == ([("service", revision, live["id"], "running")] * count if live else [])
    assert host.journal(service) is None
    assert not (host.runtime_dir / "nginx" / "announce").exists()
    left = unfinished_files(host)
    assert unfinished or not left, left
    assert reservations(host) == {}
    if live and live["definition"].get("nginx"):
        answer = host.get(service=service)
        assert (answer.status, answer.revision) == ((200, revision) if count else (503, None))


def unfinished_files(host: TestHost) -> list[str]:
    """Return the files that Conductor wrote and did not rename. A running `supervise` has one for a moment, so look again."""
    directories = (host.state_dir, host.runtime_dir, host.nginx.include_dir, host.nginx.modules_dir)
    until = time.monotonic() + WRITE_SECONDS
    while found := [
        str(path) for directory in directories for path in directory.rglob("*.new") if path.name != OPERATORS_FILE
    ]:
        if time.monotonic() > until:
            break
        time.sleep(0.02)
    return found


def reservations(host: TestHost) -> dict[str, str]:
    """Return the addresses that changes in progress have reserved."""
    path = host.state_dir / "addresses.json"
    return dict(json.loads(path.read_text())["reserved"]) if path.exists() else {}


def held_locks(host: TestHost) -> list[str]:
    """Return the names of the locks that a process holds. None does when no command runs."""
    held = []
    for path in (host.runtime_dir / "locks").iterdir():
        with path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(path.stem)
    return held
