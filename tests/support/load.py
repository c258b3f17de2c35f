"""An honest load: keep-alive clients in a process of their own, counting every request that a client would call lost.

    python -m tests.support.load --url http://127.0.0.1:8090/payments --busy 50 --idle 50 --idle-seconds 0.1 --seconds 10

or in a test:

    with host.load() as load:
        host.conductor("service", "upgrade", "--id", "web", "--revision", "r2")
        result = load.stop()
    assert result.lost == 0, result

Busy clients have no think time; idle ones use their connection again after it without looking whether it was closed.
`--announce`, or `load` of a host: a request that a reload cannot save is not counted as lost (see `Loss.IDLE_LONGER`).
`{key}` in a header or in the body becomes unique per request; keys answered by 2xx are written to `--acknowledged`. The
time and the seconds of each answer are written to `--latencies` at the end.
"""

import argparse
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from tests.support.load_clients import Clients, Request, Settings
from tests.support.load_tally import LoadResult, Seen, Tally
from tests.support.odd_clients import EarlyBird, SlowUpload

__all__ = ["EarlyBird", "Load", "LoadResult", "Seen", "SlowUpload"]

ROOT = Path(__file__).resolve().parents[2]
TICK_SECONDS = 0.2
READY_SECONDS = 10.0
NICE = 10  # clients are somebody else's machine; what is measured goes first
LONGEST_SECONDS = 3600.0


class Load:
    """A load process. Entering starts it and waits until as many requests as there are clients had an outcome; `stop`
    ends it and returns the result; leaving without `stop` discards it. It dies with its maker."""

    def __init__(
        self,
        url: str,
        *,
        busy: int = 50,
        idle: int = 50,
        idle_seconds: float = 0.1,
        timeout: float = 30.0,
        announce: float | None = None,
        method: str = "POST",
        body: str = "amount=100",
        headers: dict[str, str] | None = None,
        acknowledged: Path | None = None,
        latencies: Path | None = None,
        seconds: float = LONGEST_SECONDS,
    ) -> None:
        words = [
            sys.executable,
            "-m",
            "tests.support.load",
            "--url",
            url,
            "--method",
            method,
            "--body",
            body,
            "--json",
        ]
        words += ["--busy", str(busy), "--idle", str(idle), "--idle-seconds", str(idle_seconds)]
        words += ["--timeout", str(timeout), "--seconds", str(seconds), "--tethered"]
        words += ["--announce", str(announce)] if announce else []
        words += [word for name, value in (headers or {}).items() for word in ("--header", f"{name}: {value}")]
        words += ["--acknowledged", str(acknowledged)] if acknowledged else []
        words += ["--latencies", str(latencies)] if latencies else []
        self._words = words
        self._clients = busy + idle
        self._timeout = timeout
        self._latest: dict[str, Any] = {"answered": 0, "lost": 0, "revisions": {}}
        self._last_line = ""
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> "Load":
        self._process = subprocess.Popen(
            self._words,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        self.wait_for(lambda now: now["answered"] + now["lost"] >= self._clients, READY_SECONDS, "the first answers")
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None or self._reader is None:
            return
        process.kill()
        process.wait()
        self._reader.join()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def so_far(self) -> dict[str, Any]:
        """`answered`, `lost` and `revisions` (name to count), at most a fifth of a second old."""
        with self._changed:
            return dict(self._latest)

    def wait_for(self, enough: Callable[[dict[str, Any]], bool], timeout: float, what: str = "it") -> None:
        """Wait until `enough(so_far)`."""
        with self._changed:
            if not self._changed.wait_for(lambda: enough(self._latest), timeout):
                raise TimeoutError(f"the load did not see {what} in {timeout} s: {self._latest}")

    def wait_for_revision(self, revision: str, timeout: float = 30.0) -> None:
        """Wait until an answer named the revision."""
        self.wait_for(lambda now: revision in now["revisions"], timeout, f"an answer of {revision}")

    def run_for(self, seconds: float) -> None:
        """Let it go on for a while."""
        time.sleep(seconds)

    def stop(self) -> LoadResult:
        """End the load, wait for the requests under way, and count. Prints the result, so that a failed test shows it."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reader is not None
        self._process.stdin.close()
        try:
            self._process.wait(self._timeout + 10)
            self._reader.join()
            result = LoadResult.from_json(self._last_line)
            print(result)
            return result
        finally:
            self.__exit__()

    def _read(self, lines: TextIO) -> None:
        for line in lines:
            self._last_line = line
            told = json.loads(line)
            if "tick" in told:
                with self._changed:
                    self._latest = told["tick"]
                    self._changed.notify_all()


class _Process:
    """The load process itself: when to stop, and what it tells its maker meanwhile."""

    def __init__(self, *, tethered: bool) -> None:
        self._tethered = tethered
        self._next_tick = 0.0
        self._told = False
        self.clients: Clients | None = None

    def interrupted(self, *_: object) -> None:
        self._told = True

    def should_stop(self) -> bool:
        """Asked by the clients; the maker's end of our standard input closes when it wants no more, or died."""
        if not self._tethered:
            return self._told
        if self.clients is not None and time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + TICK_SECONDS
            self._tick(self.clients.tally)
        return self._told or bool(select.select([sys.stdin], [], [], 0)[0])

    def _tick(self, tally: Tally) -> None:
        revisions = {name: seen.count for name, seen in tally.revisions.items()}
        sys.stdout.write(
            json.dumps({"tick": {"answered": tally.answered, "lost": tally.lost, "revisions": revisions}}) + "\n"
        )
        sys.stdout.flush()


def template(wanted: argparse.Namespace) -> Callable[[int, int], Request]:
    """The payload: the request as bytes, with `{key}` filled in where it stands."""
    parts = urlsplit(wanted.url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = [f"Host: {wanted.host or parts.netloc}", *wanted.header]

    def build(key: str) -> bytes:
        body: bytes = wanted.body.replace("{key}", key).encode()
        lines = [f"{wanted.method} {path} HTTP/1.1", *(h.replace("{key}", key) for h in headers)]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
        return head.encode() + body

    if not any("{key}" in text for text in (wanted.body, *wanted.header)):
        same = Request(build(""))
        return lambda _client, _turn: same
    run = os.urandom(4).hex()

    def unique(client: int, turn: int) -> Request:
        key = f"{run}-{client}-{turn}"
        return Request(build(key), key)

    return unique


def main() -> int:
    """The command; exits 1 when a request was lost."""
    wanted = _arguments()
    parts = urlsplit(wanted.url)
    clients_of = (wanted.busy, wanted.idle, wanted.idle_seconds, wanted.timeout, wanted.announce)
    settings = Settings(parts.hostname, parts.port or 80, *clients_of)
    os.nice(NICE)
    process = _Process(tethered=wanted.tethered)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, process.interrupted)
    with contextlib.ExitStack() as stack:
        keys = stack.enter_context(wanted.acknowledged.open("a")) if wanted.acknowledged else None
        clients = Clients(settings, template(wanted), (lambda key: print(key, file=keys)) if keys else lambda _: None)
        process.clients = clients
        tally = clients.run(wanted.seconds, process.should_stop)
        result = tally.result(time.time())
    if wanted.latencies:
        wanted.latencies.write_text("".join(f"{at:.3f} {seconds:.6f}\n" for at, seconds in tally.latencies))
    print(result.to_json() if wanted.json else result)
    return 1 if result.lost else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="load", description="Loads one address and counts lost requests.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--busy", type=int, default=50, help="clients without think time")
    parser.add_argument("--idle", type=int, default=50, help="clients that think between requests")
    parser.add_argument("--idle-seconds", type=float, default=0.1, help="how long they think")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long the load lasts")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds until a request counts as lost")
    parser.add_argument("--announce", type=float, help="how many seconds a reload of the server is announced")
    parser.add_argument("--method", default="POST")
    parser.add_argument("--host", help="the Host header, when it is not the URL's")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    parser.add_argument("--body", default="amount=100", help="{key} is made unique, here and in headers")
    parser.add_argument("--acknowledged", type=Path, help="write the keys answered by 2xx to this file")
    parser.add_argument("--latencies", type=Path, help="write a line `TIME SECONDS` for each 2xx answer to this file")
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    parser.add_argument("--tethered", action="store_true", help="stop when standard input closes; tell progress")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
