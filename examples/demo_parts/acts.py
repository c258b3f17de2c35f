"""What the demo does to the app: Conductor's command as people type it, under load, and the payments read back."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from examples.demo_parts.stage import Stage, environment_of_conductor
from tests.support.load import Load, LoadResult

IDLE_SECONDS = 0.1
PAGE = 1000
PAYMENT = '{"amount": 1250, "currency": "GBP", "mandate": "MD1"}'


class Act(NamedTuple):
    """One upgrade under load: how the command ended and after how long, its line of the history, what clients saw."""

    revision: str
    exit_code: int
    seconds: float
    history: dict[str, Any]
    load: LoadResult

    @property
    def before(self) -> str:
        """The revision that served until then."""
        return str(self.history.get("from"))


def upgrade(stage: Stage, revision: str) -> int:
    """Run Conductor with its output on our terminal, as it is; its exit code."""
    words = ["service", "upgrade", "--id", "payments", "--revision", revision]
    print(f"\n$ conductor {' '.join(words)}", flush=True)
    process = subprocess.Popen(
        [str(stage.conductor), *words],
        stdin=subprocess.DEVNULL,
        cwd=stage.directory,
        env=environment_of_conductor(),
    )
    try:
        return process.wait()
    except BaseException:
        process.send_signal(signal.SIGTERM)  # it undoes what it was doing
        process.wait()
        raise


def upgrade_under_load(stage: Stage, revision: str, url: str, *, clients: int, seconds: float) -> Act:
    """The same while clients POST payments, each with a key of its own, from before until after it."""
    with Load(
        f"{url}/payments",
        busy=clients - clients // 2,
        idle=clients // 2,
        idle_seconds=IDLE_SECONDS,
        body=PAYMENT,
        headers={"Content-Type": "application/json", "Idempotency-Key": "{key}"},
        acknowledged=acknowledged_file(stage),
    ) as load:
        load.run_for(seconds)
        began = time.monotonic()
        code = upgrade(stage, revision)
        took = time.monotonic() - began
        load.run_for(seconds)
        result = load.stop()
    last = stage.history.read_text().splitlines()[-1]
    return Act(revision, code, took, json.loads(last), result)


def acknowledged_file(stage: Stage) -> Path:
    """The keys of all payments that were answered with success, one a line."""
    return stage.directory / "acknowledged"


class Books(NamedTuple):
    """Payments that clients were told are taken, against those that the API has."""

    acknowledged: int
    stored: int
    missing: int
    twice: int
    unasked: int

    @property
    def agree(self) -> bool:
        """Each acknowledged payment is stored exactly once, and nothing else is."""
        return self.acknowledged == self.stored and not (self.missing or self.twice or self.unasked)


def read_books(stage: Stage, url: str) -> Books:
    """Read every payment back through nginx and compare by key."""
    acknowledged = Counter(acknowledged_file(stage).read_text().split())
    stored = Counter(payment["idempotency_key"] for payment in payments(url))
    return Books(
        acknowledged=acknowledged.total(),
        stored=stored.total(),
        missing=len(acknowledged.keys() - stored.keys()),
        twice=sum(count > 1 for count in stored.values()),
        unasked=len(stored.keys() - acknowledged.keys()),
    )


def payments(url: str) -> Iterator[dict[str, Any]]:
    """All payments in the order of storing."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    after = 0
    while after is not None:
        with opener.open(f"{url}/payments?after={after}&limit={PAGE}", timeout=30) as answer:
            page = json.load(answer)
        yield from page["payments"]
        after = page["next"]


def hear_signals() -> None:
    """Told to stop, leave through every `finally`; Ctrl-C reaches `examples/demo`, which tells us."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    os.environ.pop("CONDUCTOR_CONFIG", None)
