"""The figures of a run: each is measured beside a floor in the same run, and its bound is a ratio to that floor.

The full form writes them to `figures.json` beside the manual's page of figures, with the machine, the versions and all
measured values, and makes a section of the page of it. A file of another machine, or of other versions, is replaced.
"""

import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import page
from tests.benchmarks.bounds import A_THIRD_MORE, BOUNDS
from tests.support.commands import ROOT
from tests.support.nginx import BINARY

FILE = ROOT / "conductor" / "manual" / "figures.json"
MOST_BATCHES = 4  # of pairs, in the short form: a busy machine disturbs a few pairs
SPIN_SECONDS = 0.02
BUSY = 1.5  # times as long as alone; then, the short form skips a missed bound instead of failing
Value = float | int | str | Sequence[float] | Mapping[str, Any]


class Figures:
    """What one benchmark measures. `short`: fewer pairs, a third more is accepted, and nothing is written.

    `most_pairs`: to try a benchmark, without writing; 0 is no limit. `until`: when no more pairs are measured to meet a
    bound (`time.monotonic`). `file`, `manual`: where the full form writes.
    """

    def __init__(
        self,
        *,
        short: bool,
        most_pairs: int = 0,
        until: float = math.inf,
        file: Path = FILE,
        manual: Path = page.PAGE,
    ) -> None:
        self.short = short
        self._most_pairs = most_pairs
        self._until = until
        self._file, self._page = file, manual
        self.slowed: list[float] = []
        self.found: dict[str, dict[str, Any]] = {}
        self.missed: list[str] = []
        self._began = time.strftime("%Y-%m-%d %H:%M")
        self._load = os.getloadavg()[0]

    def compare(
        self,
        name: str,
        ours: Callable[[], float],
        floor: Callable[[], float],
        *,
        of: str,
        pairs: int,
        short_pairs: int = 0,
        **reported: Value,
    ) -> None:
        """Measure pairs in turns, after one that is not counted, and check the median of their ratios.

        `of`: what the floor is. The short form measures up to `MOST_BATCHES` times `short_pairs`, until the bound is met.
        """
        ours(), floor()
        found: list[tuple[float, float]] = []
        for _ in range(MOST_BATCHES if self.short else 1):
            for _ in range(self.number(pairs, short_pairs)):
                self.look()
                found.append((ours(), floor()) if len(found) % 2 else (floor(), ours())[::-1])
            if self._accepts(name, _median_ratio(found)) or time.monotonic() > self._until:
                break
        self.ratio(name, found, of=of, **reported)

    def number(self, full: int, short: int) -> int:
        """Return how often something is measured in this form."""
        wanted = short if self.short else full
        return min(wanted, self._most_pairs or wanted)

    def look(self) -> None:
        """Measure how much other programs slow this machine down now."""
        cpu, began = time.thread_time(), time.perf_counter()
        while time.thread_time() - cpu < SPIN_SECONDS:
            pass
        self.slowed.append((time.perf_counter() - began) / (time.thread_time() - cpu))

    def ratio(
        self, name: str, pairs: Sequence[tuple[float, float]], *, of: str, unit: str = "s", **reported: Value
    ) -> None:
        """Record pairs of a value and its floor, and check the median of their ratios."""
        ratio, bound = _median_ratio(pairs), BOUNDS[name]
        values, floors = ([round(one, 6) for one in column] for column in zip(*pairs, strict=True))
        more = statistics.median(one - other for one, other in pairs)
        met = self._accepts(name, ratio)
        self.found[name] = {
            "ratio": round(ratio, 3), "bound": str(bound), "origin": bound.origin.value, "met": bound.accepts(ratio),
            "of_limit": bound.share(ratio),
            "floor": of, "unit": unit, "value": statistics.median(values),
            "floor_value": statistics.median(floors), "more": round(more, 6), **reported, "values": values,
            "floor_values": floors,
        }  # fmt: skip
        line = (
            f"{name}: {page.shown(statistics.median(values), unit)}, {of} {page.shown(statistics.median(floors), unit)}: "
            f"{ratio:.2f} times ({bound}; median of {len(values)}), {page.shown(more, unit, '+')}"
        )
        print(f"\n{line}")
        for key, value in reported.items():
            print(f"  {key}: {value}")
        if not met:
            self.missed.append(line)

    def report(self, name: str, **reported: Value) -> None:
        """Record values that have no bound."""
        self.found[name] = dict(reported)
        print(f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in reported.items()))

    def require_bounds(self) -> None:
        """Fail if a bound was missed. Skip if this is the short form and other programs use the machine."""
        missed = "\n".join(self.missed)
        slowed = statistics.median(self.slowed) if self.slowed else 1.0
        if self.short and missed and slowed > BUSY:
            pytest.skip(f"other programs make this machine {slowed:.1f} times slower: {missed}")
        assert not missed, missed

    def write(self) -> bool:
        """Write what was found into the file, unless this is the short form or a try. Return whether it was written."""
        if self.short or self._most_pairs or not self.found:
            return False
        earlier = self._document()
        here, taken = machine(), {"date": self._began, "load": round(self._load, 2), "commit": _commit()}
        kept = earlier["figures"] if earlier.get("machine") == here else {}
        figures = {**kept, **{name: {**taken, **found} for name, found in self.found.items()}}
        document = {"machine": here, "figures": dict(sorted(figures.items()))}
        _replace(self._file, f"{_text(document)}\n")
        _replace(self._page, page.with_section(self._page.read_text(), document))
        return True

    def _accepts(self, name: str, ratio: float) -> bool:
        """The short form only finds what became slower: a ratio that misses an aim is compared with the recorded one."""
        bound = BOUNDS[name]
        if not self.short:
            return bound.accepts(ratio)
        recorded = self._document().get("figures", {}).get(name, {}).get("ratio")
        bounds = (bound, bound._replace(ratio=recorded)) if recorded else (bound,)
        return any(one.accepts(ratio, tolerance=A_THIRD_MORE) for one in bounds)

    def _document(self) -> dict[str, Any]:
        return dict(json.loads(self._file.read_text())) if self._file.exists() else {}


def _replace(file: Path, text: str) -> None:
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.replace(file)


def machine() -> dict[str, str | int]:
    """Return the machine and the versions of what is measured."""
    info = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    docker = ("docker", "version", "--format", "{{.Server.Version}}")
    release = platform.freedesktop_os_release()
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(memory / 2**30),
        "kernel": platform.release(),
        "system": release["PRETTY_NAME"],
        "python": platform.python_version(),
        "docker": _output(*docker),
        "nginx": _output(BINARY, "-v").rpartition("/")[2],
    }


def _median_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    return statistics.median(one / other for one, other in pairs)


def _text(document: Any) -> str:
    """Return JSON with one figure, or one fact about the machine, per line."""
    lines = []
    for part, entries in document.items():
        rows = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in entries.items())
        lines.append(f"  {json.dumps(part)}: {{\n{rows}\n  }}")
    return "{\n" + ",\n".join(lines) + "\n}"


def _commit() -> str:
    return _output("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*")


def _output(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return (done.stdout or done.stderr).strip()
