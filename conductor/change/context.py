"""All outside things that a change goes through, in one value, so that a test can pass its own."""

from dataclasses import dataclass
from pathlib import Path

from conductor.clock import Clock
from conductor.definitions.model import Host
from conductor.health.check import HealthChecker
from conductor.output.printers import Reporter
from conductor.runtime.port import Runtime
from conductor.state.crontabs import Crontabs
from conductor.state.locks import Locks
from conductor.state.store import Store
from conductor.traffic.port import Traffic


@dataclass(frozen=True)
class Context:
    """`config` is the definitions file; `command` is what the user asked for, as words for locks and history; it never holds a secret."""

    host: Host
    runtime: Runtime
    traffic: Traffic
    health: HealthChecker
    store: Store
    locks: Locks
    crontabs: Crontabs
    report: Reporter
    clock: Clock
    config: Path
    command: str
