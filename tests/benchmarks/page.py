"""The section of the manual's page of figures that is made of the file of the benchmarks."""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.benchmarks.names import GROWTH, LOST, STEPS
from tests.benchmarks.pictures import embedded
from tests.support.commands import ROOT

PAGE = ROOT / "conductor" / "manual" / "figures.md"
HEADING = "## Latest benchmarks\n"


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
    ratios = {name: one for name, one in figures.items() if "ratio" in one}
    if ratios:
        parts.append("Medians, and the median of the ratios of all pairs:\n")
        rows = (
            (
                name,
                shown(one["value"], one["unit"]),
                f"{one['floor']}: {shown(one['floor_value'], one['unit'])}",
                f"{one['ratio']:.2f}",
                _bound(one),
            )
            for name, one in ratios.items()
        )
        parts.append(_table(("what", "result", "floor", "ratio", "limit"), rows))
    lost = {name.removeprefix(LOST): one for name, one in figures.items() if name.startswith(LOST)}
    if lost:
        parts.append("Lost requests, uploads and websockets per upgrade:\n")
        classes = list(next(iter(lost.values()))["lost_per_upgrade"])
        losses = ((name, *(f"{one['lost_per_upgrade'][kind]:g}" for kind in classes)) for name, one in lost.items())
        parts.append(_table(("", *classes), losses))
    measured = {name: one["latency_ms"] for name, one in lost.items() if one.get("latency_ms")}
    if measured:
        parts.append(
            "99th percentiles of the latency in ms, in the second around the cutovers and before the upgrades:\n"
        )
        classes = list(next(iter(measured.values())))
        p99s = ((name, *(_p99s(one[kind]) for kind in classes)) for name, one in measured.items())
        parts.append(_table(("", *classes), p99s))
    steps = {name.removeprefix(STEPS): one for name, one in figures.items() if name.startswith(STEPS)}
    if steps:
        parts.append("Steps of an upgrade in ms, and all of it beside the script of the same calls:\n")
        kinds = list(dict.fromkeys(step for one in steps.values() for step in one["steps"]))
        taken = ({**one["steps"], "all": one["all"], "by hand": one["by_hand"]} for one in steps.values())
        columns = (*kinds, "all", "by hand")
        lines = (tuple(f"{one[kind] * 1000:.0f}" if kind in one else "" for kind in columns) for one in taken)
        parts.append(_table(("", *columns), ((name, *line) for name, line in zip(steps, lines, strict=True))))
    growth = {name.removeprefix(GROWTH): one for name, one in figures.items() if name.startswith(GROWTH)}
    if growth:
        parts.append("Costs by size, from which the exponents of growth were fitted:\n")
        rows = (
            (name, ", ".join(f"{size}: {shown(cost, one['cost_unit'])}" for size, cost in one["costs"].items()))
            for name, one in growth.items()
        )
        parts.append(_table(("cost", "at each size"), rows))
    return "\n".join(parts)


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
