"""The socket of a manager's daemon for one command of a test: it names what the command writes for all managers, and acts at one write."""

import json
import re
import time
from collections import Counter
from pathlib import Path

from conductor.plan.lease import LOCK, WAITER
from conductor.runtime.swarm.objects import NAME, VALUE
from conductor.runtime.swarm.responses import ENDED
from conductor.state.fleet.edges import ROUTE
from tests.support.daemon_between import DaemonBetween, Fault

CALL = re.compile(r"(POST|DELETE) \S*/(configs|services)/([\w-]+)(/update)?")


class SharedWrites(DaemonBetween):
    """Writes are named by what changes: `start`, `journal shop`, `gate shop`; the second one of a name is `journal shop 2`.

    `writes` are those since the last call of `act_at`, with the time (seconds since 1970). Renewals of a lock have no name.
    """

    def __init__(self, path: Path, daemon: str) -> None:
        super().__init__(path, daemon)
        self.writes: dict[str, float] = {}
        self._values: dict[str, dict[str, str]] = {}  # of each object, as it was written last
        self._counts: Counter[str] = Counter()
        self._name = ""
        self._act = Fault("kill")

    def act_at(self, name: str, fault: Fault) -> None:
        """Apply `fault` to the write with this name of the next command."""
        with self._lock:
            self.writes.clear()
            self._values.clear()
            self._counts.clear()
            self._name, self._act = name, fault

    def take(self, call: str, body: bytes) -> Fault | None:
        """Record a write; return its fault."""
        with self._lock:
            if not (name := self._named(call, body)):
                return None
            self._counts[name] += 1
            name += f" {self._counts[name]}" if self._counts[name] > 1 else ""
            self.writes[name] = time.time()
            return self._act if name == self._name else None

    def _named(self, call: str, body: bytes) -> str:
        if not (found := CALL.match(call)):
            return ""
        method, kind, _, update = found.groups()
        if kind == "services":
            return "remove" if method == "DELETE" else _of_service(json.loads(body), is_new=not update)
        return self._of_object(json.loads(body)["Labels"]) if method == "POST" else ""

    def _of_object(self, labels: dict[str, str]) -> str:
        name = labels[NAME]
        values = {one.removeprefix(VALUE): text for one, text in labels.items() if one.startswith(VALUE)}
        before, self._values[name] = self._values.get(name), values
        if before is None or (LOCK in values and LOCK not in before):
            return f"lock {name}"
        if LOCK in before and LOCK not in values:
            return f"unlock {name}"
        changed = [one for one in {*before, *values} - {LOCK, WAITER} if before.get(one) != values.get(one)]
        if ROUTE in changed:
            return f"{json.loads(values[ROUTE])['step']} {name}"
        return f"{changed[0]} {name}" if changed else ""


def _of_service(spec: dict[str, object], *, is_new: bool) -> str:
    if is_new:
        return "create"
    if ENDED in (spec.get("Labels") or {}):  # type: ignore[operator]
        return "record the exit"
    return "start" if spec["Mode"]["Replicated"]["Replicas"] else "stop"  # type: ignore[index]
