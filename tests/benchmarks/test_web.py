"""The status page with 200 containers in 50 services: its answers, 20 open pages, and what publishing costs `supervise`."""

import json
import os
import signal
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from conductor.snapshot.published import log_path, published_path
from conductor.supervise import log_publisher, publisher
from tests.benchmarks.figures import Figures
from tests.benchmarks.hosts import EACH, SERVICES, resident_mib, start_many, wait_for_all
from tests.benchmarks.test_supervise import MOST_MIB
from tests.support.commands import Spawned
from tests.support.host import TestHost
from tests.support.status_page import StatusPage
from tests.support.supervised import Supervised, cpu_seconds

ROUNDS, PAGES, SECONDS, PAIRS = 21, 20, 20.0, 40
WINDOWS, MOST_PAGE_MIB = 3, 40.0
PATHS = ("/", "/metrics")


def thread_seconds(pid: int, name: str) -> float:
    """Return the CPU time of one thread. Format: proc(5), schedstat."""
    (task,) = [one for one in Path(f"/proc/{pid}/task").iterdir() if (one / "comm").read_text().strip() == name]
    return int((task / "schedstat").read_text().split()[0]) / 1e9


class Shown(NamedTuple):
    """`supervise` and the page of a host."""

    host: TestHost
    supervise: Spawned
    page: StatusPage
    document: Path

    def passes(self) -> tuple[int, float]:
        """Return the number of passes and how long all of them took."""
        passes = json.loads(self.document.read_bytes())["totals"]["passes"]
        return passes["count"], passes["seconds"]

    def pass_seconds(self) -> float:
        """Return how long a pass takes."""
        stamp = self.document.stat().st_mtime_ns
        count, seconds = self.passes()
        self.supervise.signal(signal.SIGHUP)
        self.host.wait_for(lambda: self.document.stat().st_mtime_ns != stamp, "a pass")
        count_after, seconds_after = self.passes()
        return (seconds_after - seconds) / (count_after - count)

    def pair(self, *, pages_first: bool) -> tuple[float, float]:
        """Return how long a pass takes with open pages, and without."""
        found = {}
        for is_open in (pages_first, not pages_first):
            with ExitStack() as stack:
                opened = [stack.enter_context(self.page.opened()) for _ in range(PAGES)] if is_open else []
                self.host.wait_for(lambda opened=opened: all(one.parts for one in opened), "all pages")
                found[is_open] = self.pass_seconds()
        return found[True], found[False]

    def uncached(self, path: str) -> float:
        """Return how long an answer takes after a new document."""
        os.utime(self.document)
        return self.seconds(path)

    def seconds(self, path: str) -> float:
        """Return how long an answer takes."""
        began = time.perf_counter()
        assert self.page.get(path).status == 200
        return time.perf_counter() - began

    def floor(self) -> float:
        """Return how long the answer of a static file takes, and the parsing of a document."""
        began = time.perf_counter()
        json.loads(self.document.read_bytes())
        return time.perf_counter() - began + self.seconds("/page.css")


class Costs(NamedTuple):
    """Shares of a core while 20 pages are open, and the bytes per second that each of them gets."""

    supervise: float
    web: float
    publishing: float
    logs: float
    bytes_per_page: float


def costs(shown: Shown) -> Costs:
    with ExitStack() as stack:
        opened = [stack.enter_context(shown.page.opened()) for _ in range(PAGES)]
        shown.host.wait_for(lambda: all(one.parts for one in opened), "all pages")

        def used() -> tuple[float, ...]:
            pid = shown.supervise.pid
            threads = (thread_seconds(pid, one.THREAD) for one in (publisher, log_publisher))
            return cpu_seconds(pid), cpu_seconds(shown.page.process.pid), *threads

        before, began = used(), time.monotonic()
        time.sleep(SECONDS)
        seconds = time.monotonic() - began
        shares = [(later - first) / seconds for first, later in zip(before, used(), strict=True)]
        return Costs(*shares, statistics.mean(sum(one.events) / seconds for one in opened))


def test_cost_of_the_status_page(images: None, figures: Figures) -> None:
    with TestHost() as host:
        start_many(host, host.daemon.url, web={"logs": True})
        sup = Supervised(host)
        try:
            supervise = sup.start()
            wait_for_all(sup)
            shown = Shown(host, supervise, StatusPage(host), published_path(str(host.runtime_dir)))
            host.wait_for(lambda: shown.page.get("/").body.count("<article>") == SERVICES + 1, "the document")
            for path in PATHS:
                figures.compare(
                    f"status page, {path} after a new document",
                    lambda path=path: shown.uncached(path),  # type: ignore[misc]
                    shown.floor,
                    of="a static file, and parsing the document",
                    pairs=ROUNDS,
                )
            last = log_path(shown.document, "web")
            host.wait_for(last.exists, "the log lines of all services", 300)
            cost = [costs(shown) for _ in range(figures.number(WINDOWS, 0))]
            passes = [shown.pair(pages_first=bool(number % 2)) for number in range(figures.number(PAIRS, 0))]
            memory, supervise_memory = resident_mib(shown.page.process.pid), resident_mib(supervise.pid)
            size = shown.document.stat().st_size
        finally:
            sup.end()
    figures.report(
        "status page, memory",
        containers=SERVICES * EACH,
        document_kib=round(size / 1024),
        web_mib=round(memory, 1),
        supervise_mib=round(supervise_memory, 1),
        kib_per_second_of_a_page=round(statistics.median(one.bytes_per_page for one in cost) / 1024, 1),
    )
    supervising = [one.supervise - one.publishing - one.logs for one in cost]
    published = [one.publishing + one.logs for one in cost]
    for name, shares in (
        (f"status page, {PAGES} open pages", [one.web for one in cost]),
        ("status page, publishing with log lines", published),
    ):
        pairs = list(zip(shares, supervising, strict=True))
        figures.ratio(name, pairs, of="everything else that supervise does", unit="of a core")
    figures.ratio("status page, a pass with open pages", passes, of="a pass without")
    assert memory <= MOST_PAGE_MIB
    assert supervise_memory <= MOST_MIB
