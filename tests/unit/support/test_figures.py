"""The bounds of benchmarks, and the file of figures."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.bounds import BOUNDS, Bound
from tests.benchmarks.figures import Figures
from tests.benchmarks.growth import exponent, record_growth
from tests.benchmarks.pictures import PICTURES, limited


@pytest.mark.parametrize(
    ("bound", "ratio", "tolerance", "accepted"),
    [
        (Bound(1.2), 1.2, 1.0, True),
        (Bound(1.2), 1.21, 1.0, False),
        (Bound(1.2), 1.59, 4 / 3, True),
        (Bound(1.2), 1.61, 4 / 3, False),
        (Bound(0.9, at_least=True), 0.9, 1.0, True),
        (Bound(0.9, at_least=True), 0.89, 1.0, False),
        (Bound(0.9, at_least=True), 0.68, 4 / 3, True),
        (Bound(0.9, at_least=True), 0.67, 4 / 3, False),
    ],
)
def test_bound(bound: Bound, ratio: float, tolerance: float, accepted: bool) -> None:
    assert bound.accepts(ratio, tolerance=tolerance) is accepted


def test_share_of_a_bound() -> None:
    """More than 1 misses the bound, of either kind."""
    assert Bound(1.2).share(0.6) == pytest.approx(0.5)
    assert Bound(0.9, at_least=True).share(0.45) == pytest.approx(2)


@pytest.mark.parametrize("expected", [0.5, 1.0, 2.0])
def test_exponent_of_growth(expected: float) -> None:
    assert exponent({size: 3 * size**expected for size in (10, 50, 200)}) == pytest.approx(expected)


def measured(ratio: float, *, short: bool = False, file: Path = Path("/nonexistent")) -> Figures:
    figures = Figures(short=short, file=file)
    figures.ratio("run", [(ratio, 1.0), (ratio, 1.0), (100.0, 1.0)], of="docker run --rm")
    return figures


def test_the_median_of_the_ratios_is_compared_with_the_bound() -> None:
    measured(1.05).require_bounds()
    with pytest.raises(AssertionError, match=r"1\.30 times \(at most 1\.10; median of 3\)"):
        measured(1.3).require_bounds()


def test_the_short_form_accepts_a_third_more() -> None:
    measured(1.3, short=True).require_bounds()
    with pytest.raises(AssertionError):
        measured(1.5, short=True).require_bounds()


def test_the_short_form_compares_what_misses_an_aim_with_the_recorded_ratio(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    for recorded, accepted in ((1.4, 1.8), (1.0, 1.4)):
        file.write_text(json.dumps({"figures": {"run": {"ratio": recorded}}}))
        measured(accepted, short=True, file=file).require_bounds()
        with pytest.raises(AssertionError):
            measured(1.9, short=True, file=file).require_bounds()


def test_the_short_form_skips_a_missed_bound_while_other_programs_use_the_machine() -> None:
    figures = measured(1.5, short=True)
    figures.slowed += [1.0, 4.0, 5.0]
    with pytest.raises(pytest.skip.Exception, match=r"4\.0 times slower: run"):
        figures.require_bounds()


def test_pairs_are_measured_in_turns_and_more_of_them_if_the_bound_is_missed() -> None:
    for slow, expected in ((1.0, 2), (9.0, 8)):
        order: list[str] = []

        def side(name: str, value: float, order: list[str] = order) -> float:
            order.append(name)
            return value

        figures = Figures(short=True)
        figures.compare(
            "run", lambda slow=slow: side("ours", slow), lambda: side("floor", 1.0), of="it", pairs=9, short_pairs=2
        )
        assert order[2:6] == ["floor", "ours", "ours", "floor"]
        assert len(figures.found["run"]["values"]) == expected


def test_the_file_and_the_page_keep_what_the_same_machine_measured_before(tmp_path: Path) -> None:
    file, manual = tmp_path / "figures.json", tmp_path / "figures.md"
    manual.write_text("# Figures\n")
    for name in ("run", "rollback", "run"):
        figures = Figures(short=False, file=file, manual=manual)
        figures.ratio(name, [(0.5, 1.0)], of="a floor")
        latency = {"busy": {"around cutovers": {"p99": 12.5}, "steady": {}}}
        figures.report(
            "lost requests, live, abrupt app", lost_per_upgrade={"busy": 0.0, "idle 2 s": 1.5}, latency_ms=latency
        )
        figures.write()
    document = json.loads(file.read_text())
    assert set(document["figures"]) == {"run", "rollback", "lost requests, live, abrupt app"}
    assert document["figures"]["run"]["values"] == [0.5]
    text = manual.read_text()
    assert text.startswith("# Figures\n\n## Latest benchmarks\n\n")
    assert text.count("| run | 500 ms | a floor: 1 s | 0.50 | at most 1.10 |\n") == 1
    assert "|  | busy | idle 2 s |\n| --- | --- | --- |\n| live, abrupt app | 0 | 1.5 |\n" in text
    assert "| live, abrupt app | 12.5 and none |\n" in text
    file.write_text(json.dumps({**document, "machine": {"cpu": "another"}}))
    figures.write()
    assert set(json.loads(file.read_text())["figures"]) == {"run", "lost requests, live, abrupt app"}


def test_the_page_shows_steps_growth_and_the_pictures_that_have_figures(tmp_path: Path) -> None:
    manual = tmp_path / "figures.md"
    manual.write_text("# Figures\n")
    figures = Figures(short=False, file=tmp_path / "figures.json", manual=manual)
    figures.report(
        "steps of an upgrade, replicas: 2, boot: 0 s", steps={"start": 0.25, "retire": 0.1}, all=0.5, by_hand=0.4
    )
    figures.report("steps of an upgrade, beside 50 services", steps={"start": 0.25}, all=0.5)
    record_growth(figures, "cron list", "jobs", {100: 0.5, 1000: 50.0, 10000: 5000.0}, unit="jobs")
    figures.write()
    text = manual.read_text()
    assert "| replicas: 2, boot: 0 s | 250 | 100 | 500 | 400 |\n" in text
    assert "| beside 50 services | 250 |  | 500 |  |\n" in text
    limit = BOUNDS["growth, cron list by jobs"]
    assert f"| cron list by jobs | 2.00 | {limit}, missed | 100: 0.5 jobs, 1000: 50 jobs, 10000: 5,000 jobs |\n" in text
    shown = [one.file for one in PICTURES if f"![{one.alt}]({one.file})" in text]
    assert shown == ["figures-steps.png", "figures-growth.png"]


def test_ratios_with_an_aim_are_drawn_with_the_worst_one_last() -> None:
    figures = measured(1.0)
    figures.ratio("rollback", [(0.5, 1.0)], of="a floor")
    figures.ratio("live, cutover and drain", [(1.0, 1.0)], of="a floor")
    assert list(limited(figures.found)) == ["rollback", "run"]


def test_the_short_form_writes_nothing(tmp_path: Path) -> None:
    figures = Figures(short=True, file=tmp_path / "figures.json")
    figures.ratio("run", [(1.0, 1.0)], of="a floor")
    figures.write()
    assert not list(tmp_path.iterdir())
