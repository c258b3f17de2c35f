"""What an action needs from outside, in one value: commands, `supervise` and tests each pass their own."""

from pathlib import Path

import msgspec

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.definitions.host import Host
from conductor.health.check import HealthChecker
from conductor.output.printers import Output
from conductor.runtime.port import Runtime
from conductor.state.crontabs import Crontabs
from conductor.state.history import HistoryWriter
from conductor.state.locks import Locks
from conductor.state.store import Store
from conductor.traffic.port import Traffic


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """`config` is the definitions file. `command` names the action in locks and history; it never contains a secret."""

    host: Host
    runtime: Runtime
    traffic: Traffic
    health: HealthChecker
    store: Store
    history: HistoryWriter
    locks: Locks
    crontabs: Crontabs
    output: Output
    clock: Clock
    cancellation: Cancellation
    config: Path
    command: str
