"""The bound of each figure: a ratio to a floor that the same run measures, so it holds on slow and on fast machines."""

import enum
from typing import NamedTuple

A_THIRD_MORE = 4 / 3  # the short form fails when a ratio is a third worse than its bound


class Origin(enum.StrEnum):
    """Where a bound comes from."""

    AIM = "an aim"
    QUIET = "at most the worse of two quiet runs plus a third"


class Bound(NamedTuple):
    """The worst ratio that is accepted: the highest, or with `at_least` the lowest."""

    ratio: float
    origin: Origin = Origin.AIM
    at_least: bool = False

    def accepts(self, ratio: float, *, tolerance: float = 1.0) -> bool:
        """Return whether a ratio is within the bound, or worse by at most the factor `tolerance`."""
        return ratio >= self.ratio / tolerance if self.at_least else ratio <= self.ratio * tolerance

    def share(self, ratio: float) -> float:
        """Return how much of the bound a ratio takes up: more than 1 misses it."""
        return round(self.ratio / ratio if self.at_least else ratio / self.ratio, 3)

    def __str__(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.ratio:.2f}"


BOUNDS = {
    "--version": Bound(2),
    "completion of a command": Bound(2.60, Origin.QUIET),
    "completion of an id": Bound(4.70, Origin.QUIET),
    "completion of a revision": Bound(5.10, Origin.QUIET),
    "completion of an option": Bound(2.60, Origin.QUIET),
    "config check, 50 services": Bound(5.20, Origin.QUIET),
    "from exit to restart by Docker": Bound(1.92, Origin.QUIET),
    "from exit to start by supervise": Bound(1.2),
    "50 services healthy after a host start": Bound(1.5),
    "live, cutover and drain": Bound(1.12, Origin.QUIET),
    "live, p99 around a cutover": Bound(1.2),
    "live, requests per second": Bound(0.9, at_least=True),
    "live, requests per second of CPU time": Bound(0.9, at_least=True),
    "live, time saved per upgrade": Bound(1, at_least=True),
    "requests per second, container IP": Bound(1.44, Origin.QUIET, at_least=True),
    "requests per second, published port": Bound(0.72, Origin.QUIET, at_least=True),
    "requests per second, reload upstream, with the announce test": Bound(0.72, Origin.QUIET, at_least=True),
    "requests per second, reload upstream, without the announce test": Bound(0.75, Origin.QUIET, at_least=True),
    "requests per second, live upstream, with the announce test": Bound(0.75, Origin.QUIET, at_least=True),
    "requests per second, live upstream, without the announce test": Bound(0.74, Origin.QUIET, at_least=True),
    "median latency, container IP": Bound(0.78, Origin.QUIET),
    "median latency, published port": Bound(1.56, Origin.QUIET),
    "median latency, reload upstream, with the announce test": Bound(1.38, Origin.QUIET),
    "median latency, reload upstream, without the announce test": Bound(1.34, Origin.QUIET),
    "median latency, live upstream, with the announce test": Bound(1.42, Origin.QUIET),
    "median latency, live upstream, without the announce test": Bound(1.41, Origin.QUIET),
    "rollback": Bound(0.9),
    "run": Bound(1.1),
    "run, CPU time": Bound(5.70, Origin.QUIET),
    "run, 20 at once": Bound(1.70, Origin.QUIET),
    "run, 20 at once, CPU time": Bound(7.50, Origin.QUIET),
    "service list, 20 containers": Bound(5.97, Origin.QUIET),
    "service list, 200 containers": Bound(5.09, Origin.QUIET),
    "service status, 20 containers": Bound(5.40, Origin.QUIET),
    "service status, 200 containers": Bound(6.06, Origin.QUIET),
    "status page, / after a new document": Bound(2.56, Origin.QUIET),
    "status page, /metrics after a new document": Bound(3.11, Origin.QUIET),
    "status page, 20 open pages": Bound(0.37, Origin.QUIET),
    "status page, a pass with open pages": Bound(1.1),
    "status page, publishing with log lines": Bound(0.21, Origin.QUIET),
    "growth, supervise, cpu by replicas": Bound(0.82, Origin.QUIET),
    "growth, supervise, memory by replicas": Bound(0.06, Origin.QUIET),
    "growth, supervise, pass by replicas": Bound(0.78, Origin.QUIET),
    "growth, service list by services": Bound(1.23, Origin.QUIET),
    "growth, service status by services": Bound(1.29, Origin.QUIET),
    "growth, config check by services": Bound(1.59, Origin.QUIET),
    "growth, nginx show by services": Bound(1.34, Origin.QUIET),
    "growth, nginx install by services": Bound(1.43, Origin.QUIET),
    "growth, nginx -t by services": Bound(1.41, Origin.QUIET),
    "growth, service history --tail 10 by lines": Bound(1.22, Origin.QUIET),
    "growth, cron list by jobs": Bound(1.34, Origin.QUIET),
    "monit, 10 checks": Bound(1.67, Origin.QUIET),
    "monit, 40 checks": Bound(0.49, Origin.QUIET),
    "monit, 50 checks": Bound(0.52, Origin.QUIET),
    "monit, 200 checks": Bound(0.42, Origin.QUIET),
    "monit, 400 checks": Bound(0.71, Origin.QUIET),
    "supervise, 10 containers": Bound(2.50, Origin.QUIET),
    "supervise, 50 containers": Bound(1.33, Origin.QUIET),
    "supervise, 200 containers": Bound(1.3),
    "supervise, 400 containers": Bound(1.3),
    "supervise, 40 containers": Bound(1.15, Origin.QUIET),
    "upgrade, replicas: 1, boot: 0 s": Bound(1.54, Origin.QUIET),
    "upgrade, replicas: 1, boot: 0.3 s": Bound(1.50, Origin.QUIET),
    "upgrade, replicas: 1, boot: 3 s": Bound(1.41, Origin.QUIET),
    "upgrade, replicas: 2, boot: 0 s": Bound(1.48, Origin.QUIET),
    "upgrade, replicas: 2, boot: 0.3 s": Bound(1.51, Origin.QUIET),
    "upgrade, replicas: 2, boot: 3 s": Bound(1.37, Origin.QUIET),
    "upgrade, replicas: 8, boot: 0 s": Bound(1.44, Origin.QUIET),
    "upgrade, replicas: 8, boot: 0.3 s": Bound(1.35, Origin.QUIET),
    "upgrade, replicas: 8, boot: 3 s": Bound(1.34, Origin.QUIET),
    "upgrade with 100 other containers": Bound(1.1),
    "upgrade with 200 other containers": Bound(1.1),
    "upgrade of 2 replicas": Bound(1.05),
}
