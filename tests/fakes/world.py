"""A host in memory: definitions in a file, fakes for runtime and traffic, the real state directory and locks."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conductor.change import actions
from conductor.change.actions import MakeTransition, perform
from conductor.change.context import Context
from conductor.change.recover import locked_and_recovered
from conductor.change.upgrade import Options, upgrade
from conductor.definitions.host import Host
from conductor.definitions.load import Definitions, load
from conductor.output.events import Event, Finished
from conductor.plan.history import HistoryEntry
from conductor.plan.log import KeptLog
from conductor.plan.replica import Replica
from conductor.state.crontabs import Crontabs
from conductor.state.locks import Locks
from conductor.state.store import Store
from tests.fakes.runtime import FakeCancellation, FakeClock, FakeHealth, FakeRuntime
from tests.fakes.traffic import FakeTraffic

# One check passes the gate, and a failing one is soon repeated: between two checks it waits in real time.
HEALTH = {"path": "/", "successes": 1, "gate_interval": "10ms"}
WEB = {"image": "shop", "count": 2, "port": 8080, "health": HEALTH, "nginx": {}}
WORKER = {"image": "shop", "count": 1, "health": {"none": True, "stable_for": "1s"}}


class Recorder:
    """Takes events and history entries."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.history: list[HistoryEntry] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def append(self, entry: HistoryEntry) -> None:
        self.history.append(entry)


class WatchedRuntime(FakeRuntime):
    """A fake runtime that also records what must not happen: `lost` are replicas that were stopped or removed while traffic
    went to them or before they were drained, `overlaps` are starts of a replica beside one of another change."""

    def __init__(self, clock: FakeClock, traffic: FakeTraffic) -> None:
        super().__init__(clock)
        self.traffic = traffic
        self.lost: list[str] = []
        self.overlaps: list[str] = []

    def start(self, container: str) -> None:
        replicas = self.snapshot().replicas
        this = next((one for one in replicas if one.id == container), None)
        if this is not None and any(
            one.running and one.service == this.service and one.change != this.change for one in replicas
        ):
            self.overlaps.append(this.name)
        super().start(container)

    def stop(self, container: str, grace_seconds: float) -> bool:
        self._watch(container)
        return super().stop(container, grace_seconds)

    def signal(self, container: str, name: str) -> None:
        self._watch(container)
        super().signal(container, name)

    def remove(self, container: str) -> None:
        self._watch(container)
        super().remove(container)

    def _watch(self, container: str) -> None:
        for one in self.snapshot().replicas:
            if one.id == container and one.running and one.endpoint in self.traffic.known():
                self.lost.append(one.name)


class WorldStore(Store):
    """A store whose files of kept logs have times of the host's clock."""

    def __init__(self, directory: Path, clock: FakeClock) -> None:
        super().__init__(directory)
        self._clock = clock

    def keep_log(self, service: str, log: KeptLog) -> None:
        super().keep_log(service, log)
        os.utime(self.directory / "logs" / service / f"{log.container}.log", (self._clock.wall(),) * 2)


class World:
    """One host. Each call of a command gets a context of its own, as a process of its own would."""

    def __init__(self, directory: Path, services: dict[str, dict[str, Any]]) -> None:
        self.directory = directory
        self.clock = FakeClock()
        self.traffic = FakeTraffic()
        self.runtime = WatchedRuntime(self.clock, self.traffic)
        self.health = FakeHealth(self.clock, self.runtime)
        self.recorder = Recorder()
        self.cancellation = FakeCancellation(self.clock)
        self.store: Store = WorldStore(directory / "state", self.clock)
        (directory / "cron").mkdir()
        self.define(services)
        for revision in ("r1", "r2", "r3"):
            self.runtime.add_image(f"shop:{revision}")

    def define(self, services: dict[str, dict[str, Any]], **more: Any) -> None:
        """Write the definitions file; `more` are keys of the host."""
        host = {
            "state_dir": str(self.directory / "state"),
            "runtime_dir": str(self.directory / "run"),
            "cron": {"dir": str(self.directory / "cron")},
            "network": {"subnet": "10.213.0.0/26", "tasks": "10.213.0.32/27"},  # small: each reservation walks it
            **more,
        }
        text = json.dumps({"version": 1, "host": host, "services": services})  # which is YAML, and made faster
        (self.directory / "services.yml").write_text(text)
        self.definitions: Definitions = load(self.directory / "services.yml")

    def context(self, host: Host | None = None) -> Context:
        """Return the context of another process, and forget about signals of the one before."""
        host = host or self.definitions.host
        self.cancellation = FakeCancellation(self.clock, stop_at=self.cancellation.stop_at)
        return Context(
            host=host,
            runtime=self.runtime,
            traffic=self.traffic,
            health=self.health,
            store=self.store,
            history=self.recorder,
            locks=Locks(Path(host.runtime_dir) / "locks", "test", self.clock, self.cancellation),
            crontabs=Crontabs(host.cron.dir),
            output=self.recorder,
            clock=self.clock,
            cancellation=self.cancellation,
            config=self.directory / "services.yml",
            command="test",
        )

    # Commands.

    def upgrade(self, revision: str, *services: str, **options: Any) -> Finished:
        """`service upgrade`."""
        definitions = self.definitions
        chosen = [definitions.service(service) for service in services or definitions.ids]
        return upgrade(self.context(), chosen, revision, Options(**options))

    def perform(
        self, make: MakeTransition, *services: str, wait_seconds: float = 0.0, plan_only: bool = False
    ) -> Finished:
        """One of the other actions, by default on `web`."""
        defined = {service: self.definitions.services.get(service) for service in services or ("web",)}
        return perform(self.context(), defined, make, wait_seconds=wait_seconds, plan_only=plan_only)

    def restart(self, service: str = "web") -> Finished:
        """`service restart`."""
        return self.perform(actions.restart, service)

    def recover(self, services: Sequence[str]) -> None:
        """What the next command on these services does first."""
        with locked_and_recovered(self.context(), services, 0.0):
            pass

    # What is there.

    def replicas(self, service: str = "web") -> tuple[Replica, ...]:
        return tuple(one for one in self.runtime.snapshot().replicas if one.service == service)

    def running(self, service: str = "web") -> dict[str, int]:
        """Return the number of running replicas of each revision."""
        found: dict[str, int] = {}
        for one in self.replicas(service):
            if one.running:
                found[one.revision] = found.get(one.revision, 0) + 1
        return found

    def crontab(self, service: str) -> str | None:
        """Return the installed crontab."""
        path = self.directory / "cron" / f"conductor-{service}"
        return path.read_text() if path.exists() else None
