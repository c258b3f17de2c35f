"""The pictures of the manual's page of figures, drawn from the file of the benchmarks. They need the extra `figures`.

Their background is white and opaque, so that they are readable on a dark page too.
"""

import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.bounds import Origin
from tests.benchmarks.names import GROWTH, LOST, STEPS

Selected = dict[str, dict[str, Any]]
COLORS = 64  # in the palette of a picture, which makes it small
WIDTH_INCHES, DOTS_PER_INCH, FONT_POINTS = 9.0, 100, 9
GOOD, BAD, PALE = "#2b6cb0", "#c53030", "#a0aec0"


class Picture(NamedTuple):
    """A picture. `select` returns the figures that it shows, and `draw` draws them with matplotlib."""

    file: str
    alt: str
    select: Callable[[Mapping[str, Any]], Selected]
    draw: Callable[[Any, Selected], Any]


def embedded(figures: Mapping[str, Any]) -> list[str]:
    """Return the references to the pictures for which there are figures, as lines of the page."""
    return [f"![{one.alt}]({one.file})\n" for one in PICTURES if one.select(figures)]


def draw(document: Mapping[str, Any], directory: Path) -> None:
    """Draw all pictures for which there are figures."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt
    from PIL import Image

    for picture in PICTURES:
        if selected := picture.select(document["figures"]):
            with plt.rc_context({"font.size": FONT_POINTS, "axes.spines.top": False, "axes.spines.right": False}):
                figure = picture.draw(plt, selected)
                drawn = io.BytesIO()
                figure.savefig(drawn, dpi=DOTS_PER_INCH, facecolor="white", bbox_inches="tight")
                plt.close(figure)
            Image.open(drawn).convert("RGB").quantize(COLORS).save(directory / picture.file, "PNG", optimize=True)


def starting(prefix: str) -> Callable[[Mapping[str, Any]], Selected]:
    """Return a selection of the figures whose names have this prefix, without it."""
    return lambda figures: {name.removeprefix(prefix): one for name, one in figures.items() if name.startswith(prefix)}


def limited(figures: Mapping[str, Any]) -> Selected:
    """Return the ratios whose limit is an aim, the worst one last: what any other limit says is only that nothing became slower."""
    found = {name: one for name, one in figures.items() if one.get("origin") == Origin.AIM}
    return dict(sorted(found.items(), key=lambda item: item[1]["of_limit"]))


def _rows(plt: Any, names: list[str]) -> tuple[Any, Any]:
    """Return a figure with one horizontal row for each name."""
    figure, axes = plt.subplots(figsize=(WIDTH_INCHES, 0.9 + 0.26 * len(names)))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.invert_yaxis()
    return figure, axes


def draw_ratios(plt: Any, selected: Selected) -> Any:
    """Draw each ratio as a share of its limit."""
    figure, axes = _rows(plt, list(selected))
    shares = [one["of_limit"] for one in selected.values()]
    axes.barh(range(len(shares)), shares, color=[BAD if share > 1 else GOOD for share in shares], height=0.55)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("measured ratio, as a share of its limit (a longer bar is worse; 1 is the limit)")
    return figure


def draw_lost(plt: Any, selected: Selected) -> Any:
    """Draw a table of the lost requests by way and class of client, coloured by their number."""
    from matplotlib.colors import SymLogNorm

    figure, axes = _rows(plt, list(selected))
    rows = [one["lost_per_upgrade"] for one in selected.values()]
    kinds = list(rows[0])
    values = [[row[kind] for kind in kinds] for row in rows]
    norm = SymLogNorm(0.1, vmin=0, vmax=max(1.0, *map(max, values)))
    axes.imshow(values, cmap="Reds", norm=norm, aspect="auto", alpha=0.55)
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            axes.text(x, y, f"{value:g}", ha="center", va="center")
    axes.set_xticks(range(len(kinds)), kinds)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    return figure


def draw_steps(plt: Any, selected: Selected) -> Any:
    """Draw the steps of each upgrade as one bar, with the time of the script as a mark."""
    figure, axes = _rows(plt, list(selected))
    steps = list(dict.fromkeys(step for one in selected.values() for step in one["steps"]))
    ends = [0.0] * len(selected)
    for number, step in enumerate(steps):
        seconds = [one["steps"].get(step, 0.0) for one in selected.values()]
        axes.barh(range(len(ends)), seconds, left=ends, height=0.55, label=step, color=plt.get_cmap("tab20")(number))
        ends = [end + more for end, more in zip(ends, seconds, strict=True)]
    rest = [max(0.0, one["all"] - end) for one, end in zip(selected.values(), ends, strict=True)]
    axes.barh(range(len(ends)), rest, left=ends, height=0.55, label="all else", color=PALE)
    by_hand = [one.get("by_hand", math.nan) for one in selected.values()]
    axes.plot(by_hand, range(len(ends)), "|", color="black", markersize=16, label="script")
    axes.set_xlabel("seconds")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def draw_growth(plt: Any, selected: Selected) -> Any:
    """Draw each cost over its size, both as multiples of the first ones."""
    figure, axes = plt.subplots(figsize=(WIDTH_INCHES, 5))
    widest = 1.0
    for number, (name, one) in enumerate(selected.items()):
        sizes, costs = [int(size) for size in one["costs"]], list(one["costs"].values())
        label = f"{name}: {one['value']:.2f}"
        xs, ys = ([value / column[0] for value in column] for column in (sizes, costs))
        axes.plot(xs, ys, marker="o", markersize=4, color=plt.get_cmap("tab20")(number), label=label)
        widest = max(widest, xs[-1])
    axes.plot([1, widest], [1, widest], "--", color="black", linewidth=1, label="linear: 1.00")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="times the smallest size", ylabel="times the cost at that size")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), title="exponents")
    return figure


PICTURES = (
    Picture("figures-ratios.png", "Ratios whose limits are aims, each as a share of its limit", limited, draw_ratios),
    Picture(
        "figures-lost.png",
        "Lost requests per upgrade, by upgrade method and class of client",
        starting(LOST),
        draw_lost,
    ),
    Picture(
        "figures-steps.png",
        "The steps of an upgrade, compared with a script that makes the same calls",
        starting(STEPS),
        draw_steps,
    ),
    Picture("figures-growth.png", "Growth of costs, with fitted exponents", starting(GROWTH), draw_growth),
)
