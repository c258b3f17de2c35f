"""What a host must look like after trouble: the live release serves at its count, and nothing of a change is left."""

import json
import time
from typing import Any

from tests.support.commands import Result
from tests.support.host import TestHost

WRITE_SECONDS = 2.0  # a write with its fsyncs takes no longer, on a machine with much else to do

# One container that is there at once or never: what a test of failures waits for is the failure.
QUICK: dict[str, Any] = {
    "count": 1,
    "env": {"BOOT": "0.05"},
    "health": {"start_timeout": "2s", "timeout": "500ms"},
    "nginx": {"drain": "8s"},
    "stop": {"grace": "1s"},
}


def failed(result: Result, code: int, *words: str) -> str:
    """It ended with this exit code and told all these words, in sentences; returns what it told."""
    result.expect(code)
    told = result.stderr
    assert [word for word in words if word not in told] == [], str(result)
    assert "Traceback" not in told, str(result)
    assert "\nerror: cannot" in f"\n{told}" or code in {130, 143}, str(result)
    return told


def nothing_left_behind(host: TestHost, revision: str | None, service: str = "web", *, count: int = 1) -> None:
    """`revision` is live: exactly its containers are there and running, and answer through nginx if it is behind one; with
    none of them it answers 503. None: never deployed.
    """
    wanted = host.wanted(service)
    live = (wanted or {}).get("release")
    assert (live["revision"] if live else None) == revision
    found = [(c.kind, c.revision, c.labels["conductor.release"], c.state) for c in host.containers(service)]
    assert found == ([("service", revision, live["id"], "running")] * count if live else [])
    assert host.journal(service) is None
    assert not (host.runtime_dir / "nginx" / "announce").exists()
    assert unfinished_files(host) == []
    assert reservations(host) == {}
    if live and live["definition"].get("nginx"):
        answer = host.get(service=service)
        assert (answer.status, answer.revision) == ((200, revision) if count else (503, None))


def unfinished_files(host: TestHost) -> list[str]:
    """What was written beside a file and not renamed; a `supervise` that runs writes its notes that way just now."""
    directories = (host.state_dir, host.runtime_dir, host.nginx.include_dir, host.nginx.modules_dir)
    until = time.monotonic() + WRITE_SECONDS
    while found := [str(path) for directory in directories for path in directory.rglob("*.new")]:
        if time.monotonic() > until:
            break
        time.sleep(0.02)
    return found


def reservations(host: TestHost) -> dict[str, str]:
    """Addresses that a change under way holds."""
    path = host.state_dir / "addresses.json"
    return dict(json.loads(path.read_text())["reserved"]) if path.exists() else {}
