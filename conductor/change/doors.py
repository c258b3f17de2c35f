"""All outside things that a change goes through, in one value, so that a test can pass its own."""

from dataclasses import dataclass
from pathlib import Path

from conductor.clock import Clock
from conductor.definitions.model import Host
from conductor.engine.ports import Engine, Probe
from conductor.proxy.ports import Proxy
from conductor.report.printers import Reporter
from conductor.state.crontabs import Crontabs
from conductor.state.locks import Locks
from conductor.state.store import Store


@dataclass(frozen=True)
class Doors:
    """`config` is the definitions file; `command` is what the user asked for, as words for locks and history; it never holds a secret."""

    host: Host
    engine: Engine
    proxy: Proxy
    probe: Probe
    store: Store
    locks: Locks
    crontabs: Crontabs
    report: Reporter
    clock: Clock
    config: Path
    command: str
