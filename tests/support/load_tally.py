"""What a load run counts, and the document that it becomes."""

import dataclasses
import enum
import json
from collections import Counter
from typing import Any

BUCKET_SECONDS = 0.1
MOST_LOSSES_TOLD = 200


class Loss(enum.StrEnum):
    """Why a client got no 2xx answer. Such a request counts as lost, except `IDLE_LONGER`."""

    SERVER_ERROR = "5xx"
    OTHER_STATUS = "other status"
    REUSED = "ended, reused connection"
    FRESH = "ended, fresh connection"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    IDLE_LONGER = "idle longer than the announce"  # as `REUSED`, but see `Clients`


@dataclasses.dataclass
class Seen:
    """One revision's answers; times are seconds since the epoch. `asked`: when the last of their requests was sent, since
    a busy client may read an answer long after the server has sent it."""

    count: int
    first: float
    last: float
    asked: float


@dataclasses.dataclass
class LoadResult:
    """A run, counted. `total` is every request that had an outcome: `answered` (2xx), `lost`, by class in `losses`, and
    `idle_longer` (`Loss.IDLE_LONGER`).

    `timeline` holds per tenth of a second [seconds since `began`, answered, lost, slowest in seconds]; `told` describes
    the first losses one by one; `acknowledged` counts the keys answered by 2xx.
    """

    began: float = 0.0
    ended: float = 0.0
    total: int = 0
    answered: int = 0
    lost: int = 0
    idle_longer: int = 0
    losses: dict[str, int] = dataclasses.field(default_factory=dict)
    statuses: dict[str, int] = dataclasses.field(default_factory=dict)
    by_client: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    slowest: float = 0.0
    median: float = 0.0
    p99: float = 0.0
    per_second: float = 0.0
    connections: int = 0
    revisions: dict[str, Seen] = dataclasses.field(default_factory=dict)
    timeline: list[tuple[float, int, int, float]] = dataclasses.field(default_factory=list)
    told: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @classmethod
    def from_json(cls, text: str) -> "LoadResult":
        """Read what `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        fields["revisions"] = {name: Seen(**seen) for name, seen in fields["revisions"].items()}
        fields["timeline"] = [tuple(row) for row in fields["timeline"]]
        return cls(**fields)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(dataclasses.asdict(self))

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.losses.items())
        lost = f"{self.lost} lost" + (f" ({kinds})" if kinds else "")
        idle_longer = f"{self.idle_longer} {Loss.IDLE_LONGER}, " if self.idle_longer else ""
        seen = ", ".join(f"{name}: {s.count}" for name, s in self.revisions.items())
        return (
            f"{self.total} requests in {self.ended - self.began:.1f} s ({self.per_second:.0f}/s), {lost}, {idle_longer}"
            f"median {self.median * 1000:.1f} ms, p99 {self.p99 * 1000:.1f} ms, slowest {self.slowest * 1000:.0f} ms; {seen}"
        )


class Tally:
    """Collects outcomes as they come; `result` makes the document."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.answered = 0
        self.lost = 0
        self.idle_longer = 0
        self.connections = 0
        self.revisions: dict[str, Seen] = {}
        self.losses: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._by_client: dict[str, Counter[str]] = {}
        self.latencies: list[tuple[float, float]] = []  # when each 2xx answer came, and after how many seconds
        self._buckets: dict[int, list[float]] = {}
        self._told: list[dict[str, Any]] = []

    def answer(self, now: float, client: str, latency: float, status: int, revision: str | None) -> None:
        """A whole answer came. `client` is the class of client."""
        self._statuses[status] += 1
        name = revision if revision is not None else "(not named)"
        seen = self.revisions.get(name)
        if seen is None:
            self.revisions[name] = Seen(1, now, now, now - latency)
        else:
            seen.count += 1
            seen.last = now
            seen.asked = max(seen.asked, now - latency)
        if 200 <= status < 300:
            self.answered += 1
            self.latencies.append((now, latency))
            self._count(now, client, "answered", latency)
        else:
            self.loss(
                now,
                client,
                latency,
                Loss.SERVER_ERROR if status >= 500 else Loss.OTHER_STATUS,
                f"{status} from {name}",
            )

    def loss(self, now: float, client: str, latency: float, kind: Loss, detail: str) -> None:
        """A request had no 2xx answer."""
        if kind is Loss.IDLE_LONGER:
            self.idle_longer += 1
        else:
            self.lost += 1
            self.losses[kind.value] += 1
            self._count(now, client, "lost", latency)
        if len(self._told) < MOST_LOSSES_TOLD:
            self._told.append(
                {
                    "at": now,
                    "since": now - self.began,
                    "client": client,
                    "kind": kind.value,
                    "after": latency,
                    "detail": detail,
                }
            )

    def _count(self, now: float, client: str, outcome: str, latency: float) -> None:
        self._by_client.setdefault(client, Counter(answered=0, lost=0))[outcome] += 1
        bucket = self._buckets.setdefault(int((now - self.began) / BUCKET_SECONDS), [0, 0, 0.0])
        bucket[outcome == "lost"] += 1
        bucket[2] = max(bucket[2], latency)

    def result(self, ended: float) -> LoadResult:
        """The document. Revisions that only an error answer named are in it too."""
        ordered = sorted(latency for _, latency in self.latencies)
        total = self.answered + self.lost + self.idle_longer
        rank = len(ordered)
        return LoadResult(
            began=self.began,
            ended=ended,
            total=total,
            answered=self.answered,
            lost=self.lost,
            idle_longer=self.idle_longer,
            losses=dict(self.losses),
            statuses={str(status): count for status, count in sorted(self._statuses.items())},
            by_client={name: dict(counts) for name, counts in self._by_client.items()},
            slowest=ordered[-1] if ordered else 0.0,
            median=ordered[rank // 2] if ordered else 0.0,
            p99=ordered[int(rank * 0.99)] if ordered else 0.0,
            per_second=total / max(ended - self.began, 1e-9),
            connections=self.connections,
            revisions=self.revisions,
            timeline=[
                (round(at * BUCKET_SECONDS, 3), int(ok), int(lost), slow)
                for at, (ok, lost, slow) in sorted(self._buckets.items())
            ],
            told=self._told,
        )
