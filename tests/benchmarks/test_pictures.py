"""The pictures of the page of figures, drawn from invented ones: they need matplotlib, which the short form does not have."""

from pathlib import Path
from typing import Any

from tests.benchmarks.names import GROWTH, LOST, STEPS
from tests.benchmarks.pictures import PICTURES, draw

MOST_BYTES = 60_000
PNG = b"\x89PNG\r\n\x1a\n"


def test_pictures_are_small(tmp_path: Path) -> None:
    figures: dict[str, Any] = {}
    for n in range(30):
        figures[f"a figure with a long name, number {n}"] = {"of_limit": 0.5 + n / 40, "origin": "an aim"}
    for n in range(16):
        classes = ("busy", "idle 0.1 s", "idle 1 s", "idle 2 s", "uploads", "websockets")
        figures[f"{LOST}way {n}, graceful app"] = {"lost_per_upgrade": dict.fromkeys(classes, n * 1.7)}
    for n in range(9):
        steps = dict.fromkeys(("start", "gate", "cutover", "commit", "drain", "retire", "history"), 0.1 * n)
        figures[f"{STEPS}replicas: {n}, boot: 0.3 s"] = {"steps": steps, "all": n + 0.5, "by_hand": n * 0.9}
    del figures[f"{STEPS}replicas: 8, boot: 0.3 s"]["by_hand"]
    for n in range(12):
        costs = {str(size): size ** (1 + n / 20) for size in (50, 100, 200, 400)}
        figures[f"{GROWTH}command {n} by services"] = {"costs": costs, "value": 1 + n / 20}
    draw({"figures": figures}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {one.file for one in PICTURES}
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        assert data.startswith(PNG)
        assert len(data) < MOST_BYTES, path.name
