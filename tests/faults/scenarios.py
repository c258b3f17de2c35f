"""The services and the actions of the campaign."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.aftermath import QUICK
from tests.support.host import merged

WEB = merged(QUICK, {"count": 2, "health": {"start_timeout": "20s"}})
WORKER = {
    "count": 1, "port": None, "nginx": None, "health": {"none": True, "stable_for": "300ms", "path": None, "gate_interval": None,
    "timeout": None, "start_timeout": None}, "stop": {"grace": "1s"},
}  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """The services, and the words of the action, which gets the next revision."""

    services: Mapping[str, dict[str, Any]]
    action: Callable[[str], tuple[str, ...]]
    counts: tuple[int, ...] = (2,)  # of `web`, before or after the action
    repairs: bool = False  # a replica is removed before the action
    needs_earlier: bool = False  # an upgrade precedes the action: one rollback after the other runs out of releases
    taken: str = ""  # a service under whose file name the operator has a file, so that nothing of it is deployed

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.services)


def upgrade_of(*services: str) -> Callable[[str], tuple[str, ...]]:
    ids = tuple(word for service in services for word in ("--id", service))
    return lambda revision: ("service", "upgrade", *ids, "--revision", revision)


SCENARIOS = {
    "upgrade of a web service": Scenario({"web": WEB}, upgrade_of("web"), taken="taken"),
    "upgrade of a worker": Scenario({"worker": WORKER}, upgrade_of("worker")),
    "upgrade of a web service and a worker": Scenario({"web": WEB, "worker": WORKER}, upgrade_of("web", "worker")),
    "upgrade with order: stop-first": Scenario({"worker": {**WORKER, "order": "stop-first"}}, upgrade_of("worker")),
    "rollback": Scenario({"web": WEB}, lambda _: ("service", "rollback", "--id", "web"), needs_earlier=True),
    "scale": Scenario({"web": WEB}, lambda _: ("service", "scale", "--id", "web", "--count", "3"), (2, 3)),
    "repair": Scenario({"web": WEB}, lambda _: ("supervise", "--once"), repairs=True),
}
