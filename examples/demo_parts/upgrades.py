"""The demo's upgrades: the conductor command, load during it, and the check that acknowledged payments are stored."""

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

from examples.demo_parts.environment import Environment, conductor_environment
from tests.support.load import Load, LoadResult

IDLE_SECONDS = 0.1
PAGE = 1000
PAYMENT = '{"amount": 1250, "currency": "GBP", "mandate": "MD1"}'


class Upgrade(NamedTuple):
    """One upgrade under load: exit code and duration of the command, its history entry, results of the clients."""

    revision: str
    exit_code: int
    seconds: float
    history: dict[str, Any]
    load: LoadResult

    @property
    def before(self) -> str:
        """The revision before the upgrade."""
        return str(self.history.get("from"))


def upgrade(environment: Environment, revision: str) -> int:
    """Run the command with its output on the terminal; return its exit code."""
    words = ["service", "upgrade", "--id", "payments", "--revision", revision]
    print(f"\n$ conductor {' '.join(words)}", flush=True)
    process = subprocess.Popen(
        [str(environment.conductor), *words],
        stdin=subprocess.DEVNULL,
        cwd=environment.directory,
        env=conductor_environment(),
    )
    try:
        return process.wait()
    except BaseException:
        process.send_signal(signal.SIGTERM)  # Conductor rolls the change back
        process.wait()
        raise


def upgrade_under_load(environment: Environment, revision: str, url: str, *, clients: int, seconds: float) -> Upgrade:
    """Upgrade while clients POST payments with unique keys, from `seconds` before until `seconds` after it."""
    with Load(
        f"{url}/payments",
        busy=clients - clients // 2,
        idle=clients // 2,
        idle_seconds=IDLE_SECONDS,
        body=PAYMENT,
        headers={"Content-Type": "application/json", "Idempotency-Key": "{key}"},
        acknowledged=acknowledged_file(environment),
    ) as load:
        load.run_for(seconds)
        began = time.monotonic()
        code = upgrade(environment, revision)
        took = time.monotonic() - began
        load.run_for(seconds)
        result = load.stop()
    last = environment.history.read_text().splitlines()[-1]
    return Upgrade(revision, code, took, json.loads(last), result)


def acknowledged_file(environment: Environment) -> Path:
    """Return the file with the keys of all acknowledged payments, one per line."""
    return environment.directory / "acknowledged"


class Reconciliation(NamedTuple):
    """Acknowledged payments compared with stored ones."""

    acknowledged: int
    stored: int
    missing: int
    duplicated: int
    unacknowledged: int

    @property
    def matches(self) -> bool:
        """Whether exactly the acknowledged payments are stored, each once."""
        return self.acknowledged == self.stored and not (self.missing or self.duplicated or self.unacknowledged)


def reconcile(environment: Environment, url: str) -> Reconciliation:
    """Read all payments through nginx and compare them by key."""
    acknowledged = Counter(acknowledged_file(environment).read_text().split())
    stored = Counter(payment["idempotency_key"] for payment in payments(url))
    return Reconciliation(
        acknowledged=acknowledged.total(),
        stored=stored.total(),
        missing=len(acknowledged.keys() - stored.keys()),
        duplicated=sum(count > 1 for count in stored.values()),
        unacknowledged=len(stored.keys() - acknowledged.keys()),
    )


def payments(url: str) -> Iterator[dict[str, Any]]:
    """Yield all payments in the order of storage."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    after = 0
    while after is not None:
        with opener.open(f"{url}/payments?after={after}&limit={PAGE}", timeout=30) as response:
            page = json.load(response)
        yield from page["payments"]
        after = page["next"]


def exit_on_sigterm() -> None:
    """Exit on SIGTERM, which `examples/demo` sends on Ctrl-C, so that every `finally` runs."""

    def exit_with_signal(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, exit_with_signal)
    os.environ.pop("CONDUCTOR_CONFIG", None)
