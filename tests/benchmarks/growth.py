"""How a cost grows with its size: the exponent of a power law, which is 1 if the cost is proportional to the size."""

import math
import statistics
from collections.abc import Mapping

from tests.benchmarks.figures import Figures
from tests.benchmarks.names import GROWTH


def exponent(costs: Mapping[int, float]) -> float:
    """Return the slope of the line through the logarithms of costs by size."""
    return statistics.linear_regression(
        [math.log(size) for size in costs], [math.log(cost) for cost in costs.values()]
    )[0]


def record_growth(figures: Figures, cost: str, size: str, costs: Mapping[int, float], *, unit: str = "s") -> None:
    """Record the exponent, with a linear cost as its floor. `size`: what is counted, in the plural."""
    found = {"size": size, "cost_unit": unit, "costs": {str(one): round(value, 5) for one, value in costs.items()}}
    figures.ratio(f"{GROWTH}{cost} by {size}", [(exponent(costs), 1.0)], of="a linear cost", unit="(exponent)", **found)
