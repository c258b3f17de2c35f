"""The section of the manual's page of figures that is made of the file of the benchmarks."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.benchmarks.names import GROWTH, LOST, SHARES, STEPS
from tests.benchmarks.pictures import embedded, starting
from tests.support.commands import ROOT

PAGE = ROOT / "conductor" / "manual" / "figures.md"
HEADING = "## Latest benchmarks\n"
LOST_TEXT = (
    "Lost requests, uploads and websockets per upgrade. An abrupt app exits immediately on SIGTERM; a graceful app first "
    "finishes its requests.\n"
)

Figures = Mapping[str, Any]


def with_section(page: str, document: Mapping[str, Any]) -> str:
    """Return the page with this section as its last one."""
    return f"{page.partition(HEADING)[0].rstrip()}\n\n{HEADING}\n{section(document)}"


def section(document: Mapping[str, Any]) -> str:
    """Return the tables, after the machine and the command."""
    figures = document["figures"]
    dates = sorted({one["date"][:10] for one in figures.values()})
    here = document["machine"]
    machine = (
        f"{here['cpu']}, {here['cores']} cores, {here['memory_gib']} GiB, {here['system']}, Linux {here['kernel']}, "
        f"Docker {here['docker']}, nginx {here['nginx']}, Python {here['python']}"
    )
    load = max(one["load"] for one in figures.values())
    parts = [
        "This section is written by `tests/run benchmarks`.\n",
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}: {machine}.\n",
        f"Load average before each benchmark: at most {load:g}.\n",
        *embedded(figures),
    ]
    return "\n".join((*parts, *(text for table in TABLES for text in table(figures))))


def ratios(figures: Figures) -> Iterator[str]:
    found = {name: one for name, one in figures.items() if "ratio" in one and not name.startswith(GROWTH)}
    if found:
        yield "Medians, and the median of the ratios of all pairs:\n"
        rows = (
            (
                name,
                shown(one["value"], one["unit"]),
                f"{one['floor']}: {shown(one['floor_value'], one['unit'])}",
                f"{one['ratio']:.2f}",
                _bound(one),
            )
            for name, one in found.items()
        )
        yield _table(("what", "result", "baseline", "ratio", "limit"), rows)


def lost_requests(figures: Figures) -> Iterator[str]:
    if lost := starting(LOST)(figures):
        yield LOST_TEXT
        classes = list(next(iter(lost.values()))["lost_per_upgrade"])
        losses = ((name, *(f"{one['lost_per_upgrade'][kind]:g}" for kind in classes)) for name, one in lost.items())
        yield _table(("", *classes), losses)
    if measured := {name: one["latency_ms"] for name, one in lost.items() if one.get("latency_ms")}:
        yield "99th percentiles of the latency in ms, within half a second of each cutover, and during the last second before each upgrade (`none`: no response came within that time):\n"
        classes = list(next(iter(measured.values())))
        p99s = ((name, *(_p99s(one[kind]) for kind in classes)) for name, one in measured.items())
        yield _table(("", *classes), p99s)


def steps_of_upgrades(figures: Figures) -> Iterator[str]:
    if steps := starting(STEPS)(figures):
        yield "Steps of an upgrade in ms, the whole upgrade, and a script that makes the same calls:\n"
        kinds = list(dict.fromkeys(step for one in steps.values() for step in one["steps"]))
        columns = (*kinds, "total", "script")
        taken = {name: {**one["steps"], "total": one["all"], **_script(one)} for name, one in steps.items()}
        yield _table(
            ("", *columns),
            (
                (name, *(f"{one[kind] * 1000:.0f}" if kind in one else "" for kind in columns))
                for name, one in taken.items()
            ),
        )


def growth(figures: Figures) -> Iterator[str]:
    if found := starting(GROWTH)(figures):
        yield "Fitted exponents of growth (1 means that the cost grows in proportion to the size):\n"
        rows = (
            (
                name,
                f"{one['ratio']:.2f}",
                _bound(one),
                ", ".join(f"{size}: {shown(cost, one['cost_unit'])}" for size, cost in one["costs"].items()),
            )
            for name, one in found.items()
        )
        yield _table(("cost", "exponent", "limit", "at each size"), rows)


def shares(figures: Figures) -> Iterator[str]:
    if found := starting(SHARES)(figures):
        yield "Where the time of a command goes, in ms:\n"
        columns = ("python", "imports", "rest", "all")
        rows = (
            (name, *(f"{one[part] * 1000:.0f}" for part in columns), str(one["modules"])) for name, one in found.items()
        )
        yield _table(("", "Python startup", "imports", "everything else", "total", "imported modules"), rows)


def _script(figure: Mapping[str, Any]) -> dict[str, float]:
    return {"script": figure["by_hand"]} if "by_hand" in figure else {}


TABLES = (ratios, lost_requests, steps_of_upgrades, shares, growth)


def _p99s(latency: Mapping[str, Mapping[str, float]]) -> str:
    return " and ".join(
        f"{latency[when]['p99']:g}" if latency[when] else "none" for when in ("around cutovers", "steady")
    )


def _bound(figure: Mapping[str, Any]) -> str:
    return f"{figure['bound']}{'' if figure['met'] else ', missed'}"


def shown(value: float, unit: str, sign: str = "") -> str:
    """Return a value with its unit. `sign`: "+" also shows the sign of a positive value."""
    if unit == "of a core":
        return f"{value:{sign}.2%} {unit}"
    if abs(value) >= 1000:
        return f"{value:{sign},.0f} {unit}"
    return f"{value * 1000:{sign}.0f} ms" if unit == "s" and abs(value) < 1 else f"{value:{sign}.3g} {unit}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
