"""What decides whether a canary gets all requests."""

import pytest

from conductor.definitions.model import Canary
from conductor.plan.canary import Comparison, Figures, failure

GOOD = Figures(requests=1000, errors=5, p95=0.1)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (GOOD, Figures(requests=99, errors=99, p95=9.0), None),
        (GOOD, Figures(requests=100, errors=1, p95=0.15), None),
        (GOOD, Figures(requests=100, errors=2, p95=0.1), "2 of 100 requests (2.0%) to the new replicas failed, compared with 5 of 1000"),
        (Figures(requests=1000, errors=30, p95=0.1), Figures(requests=100, errors=3, p95=0.1), None),
        (GOOD, Figures(requests=100, p95=0.16), "the 95th percentile of 100 response times of the new replicas is 160ms, and that of the old replicas is 100ms"),
        (Figures(requests=3), Figures(requests=100, p95=9.0), None),
        (Figures(requests=1000, p95=0.001), Figures(requests=100, p95=0.0073), None),
        (Figures(requests=1000, p95=0.001), Figures(requests=100, p95=0.008), "of the new replicas is 8ms, and that of the old replicas is 1ms; the limit is 1.5 times 5ms"),
        (Figures(), Figures(requests=100, errors=2), "compared with 0 of 0 requests (0.0%) to the old replicas; at most 1% may fail"),
        (GOOD, Figures(requests=200), None),
    ],
)  # fmt: skip
def test_the_decision(old: Figures, new: Figures, words: str | None) -> None:
    found = failure(Comparison(old, new), Canary())
    assert found is None if words is None else words in (found or "")
