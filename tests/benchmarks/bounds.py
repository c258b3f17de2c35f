"""The bound of each figure: a ratio to a floor that the same run measures, so it holds on slow and on fast machines."""

import enum
import math
from typing import NamedTuple

A_THIRD_MORE = 4 / 3  # the short form fails when a ratio is a third worse than its bound


class Origin(enum.StrEnum):
    """Where a bound comes from."""

    AIM = "an aim"
    QUIET = "a quiet run plus a third"
    BUSY = "a run on a busy machine plus a third"  # to be measured again
    NONE = "not measured yet"


class Bound(NamedTuple):
    """The worst ratio that is accepted: the highest, or with `at_least` the lowest."""

    ratio: float
    origin: Origin = Origin.AIM
    at_least: bool = False

    def accepts(self, ratio: float, *, tolerance: float = 1.0) -> bool:
        """Return whether a ratio is within the bound, or worse by at most the factor `tolerance`."""
        return ratio >= self.ratio / tolerance if self.at_least else ratio <= self.ratio * tolerance

    def share(self, ratio: float) -> float | None:
        """Return how much of the bound a ratio takes up: more than 1 misses it. None if there is no bound yet."""
        if self.origin is Origin.NONE:
            return None
        return round(self.ratio / ratio if self.at_least else ratio / self.ratio, 3)

    @property
    def is_final(self) -> bool:
        """Return whether the bound need not be measured again."""
        return self.origin in {Origin.AIM, Origin.QUIET}

    def __str__(self) -> str:
        if self.origin is Origin.NONE:
            return "no bound yet"
        return f"at {'least' if self.at_least else 'most'} {self.ratio:.2f}"


NOT_MEASURED = Bound(math.inf, Origin.NONE)
PATHS = (
    "container IP",
    "published port",
    *(
        f"{cutover} upstream, {test} the announce test"
        for cutover in ("reload", "live")
        for test in ("with", "without")
    ),
)
GROWTHS = (
    "supervise, cpu by replicas",
    "supervise, memory by replicas",
    "supervise, pass by replicas",
    "service list by services",
    "service status by services",
    "config check by services",
    "nginx show by services",
    "nginx install by services",
    "nginx -t by services",
    "service history --tail 10 by lines",
    "cron list by jobs",
)
BOUNDS = {
    "--version": Bound(2.0),
    "completion of a command": Bound(2.6, Origin.BUSY),
    "completion of an id": Bound(4.7, Origin.BUSY),
    "completion of a revision": Bound(5.1, Origin.BUSY),
    "completion of an option": Bound(2.6, Origin.BUSY),
    "config check, 50 services": NOT_MEASURED,
    "from exit to restart by Docker": NOT_MEASURED,
    "from exit to start by supervise": Bound(1.2),
    "50 services healthy after a host start": Bound(1.5),
    "live, cutover and drain": NOT_MEASURED,
    "live, p99 around a cutover": Bound(1.2),
    "live, requests per second": Bound(0.9, at_least=True),
    "live, requests per second of CPU time": Bound(0.9, at_least=True),
    "live, time saved per upgrade": Bound(1.0, at_least=True),
    **{f"{what}, {path}": NOT_MEASURED for what in ("requests per second", "median latency") for path in PATHS},
    "rollback": Bound(0.9),
    "run": Bound(1.10),
    "run, CPU time": NOT_MEASURED,
    "run, 20 at once": NOT_MEASURED,
    "run, 20 at once, CPU time": NOT_MEASURED,
    "service list, 20 containers": Bound(6.6, Origin.BUSY),
    "service list, 200 containers": NOT_MEASURED,
    "service status, 20 containers": Bound(5.4, Origin.BUSY),
    "service status, 200 containers": NOT_MEASURED,
    "status page, / after a new document": NOT_MEASURED,
    "status page, /metrics after a new document": NOT_MEASURED,
    "status page, 20 open pages": NOT_MEASURED,
    "status page, a pass with open pages": Bound(1.1),
    "status page, publishing with log lines": NOT_MEASURED,
    **{f"growth, {cost}": NOT_MEASURED for cost in GROWTHS},
    **{f"monit, {checks} checks": NOT_MEASURED for checks in (10, 40, 50, 200, 400)},
    "supervise, 10 containers": NOT_MEASURED,
    "supervise, 50 containers": NOT_MEASURED,
    "supervise, 200 containers": Bound(1.3),
    "supervise, 400 containers": Bound(1.3),
    "supervise, 40 containers": Bound(1.35, Origin.BUSY),
    **{f"upgrade, replicas: {n}, boot: {boot} s": NOT_MEASURED for n in (1, 2, 8) for boot in ("0", "0.3", "3")},
    "upgrade beside 100 other containers": Bound(1.10),
    "upgrade beside 200 other containers": Bound(1.10),
    "upgrade of 2 replicas": Bound(1.05),
}
