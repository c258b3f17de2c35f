"""Everything under the state directory, by name."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conductor.state.store import KEPT_LOGS, Store


def test_logs_kept_by_many_at_once(tmp_path: Path) -> None:
    """Containers of one change go side by side, and each tidies up: none may stumble over what another has removed."""
    store, at_once = Store(tmp_path), 8
    together = threading.Barrier(at_once)

    def keep(number: int) -> None:
        together.wait()
        store.keep_log(f"web-{number:04}", [f"line {number}"])

    for number in range(KEPT_LOGS):
        store.keep_log(f"old-{number:04}", [])
    with ThreadPoolExecutor(at_once) as pool:
        assert list(pool.map(keep, range(50 * at_once))) == [None] * 50 * at_once
    kept = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert KEPT_LOGS - at_once <= len(kept) <= KEPT_LOGS
    assert not [name for name in kept if name.startswith("old-")]
