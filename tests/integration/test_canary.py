"""Canaries with containers under load: the share, the rollback with its figures, the promotion, and a killed upgrade."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.aftermath import nothing_left_behind
from tests.support.host import TestHost
from tests.support.load import LoadResult

ANY_LATENCY = 1000  # a busy machine may delay the answers of some replicas
APP = Path(__file__).parents[1] / "support" / "failing_app.py"


@pytest.fixture(scope="module")
def cutover() -> str:
    return "live"


def deploy(host: TestHost, fault: str = "", **canary: Any) -> None:
    """Deploy r1; r2 will have the fault."""
    directory = host.directory / "failing"
    directory.mkdir()
    shutil.copy(APP, directory / "app.py")
    (directory / "r2").write_text(fault or "none 0")
    host.define(
        {
            "web": {
                "command": ["python3", "-I", "-S", "-B", "/failing/app.py"],
                "volumes": [f"{directory}:/failing:ro"],
                "canary": {"share": "10%", "for": "3s", "max_latency": ANY_LATENCY, **canary},
            }
        }
    )
    host.upgrade("r1", check=True)


def share_of(result: LoadResult, revision: str, answered: Path) -> float:
    """Return the part of the answers that named the revision, from its first to its last one. `answered` has the times of all
    answers that were not lost, to the millisecond."""
    seen = result.revisions[revision]
    times = (float(line.split()[0]) for line in answered.read_text().splitlines())
    return seen.count / (sum(seen.first - 0.001 <= at <= seen.last + 0.001 for at in times) + result.lost)


FAULTS = {
    "errors": ("errors 20", ANY_LATENCY, "to the new replicas failed"),
    "slow": ("slow 0.05", 1.5, "the 95th percentile of"),
}


@pytest.mark.parametrize(
    ("fault", "max_latency", "words"),
    [FAULTS["errors"], pytest.param(*FAULTS["slow"], marks=pytest.mark.long)],
    ids=FAULTS,
)
def test_a_bad_revision_is_rolled_back_by_itself_having_seen_at_most_its_share(
    host: TestHost, fault: str, max_latency: float, words: str
) -> None:
    deploy(host, fault, **{"for": "60s", "max_latency": max_latency})
    answered = host.directory / "answered"
    with host.load(busy=20, idle=20, latencies=answered) as load:
        began = time.time()
        result = host.upgrade("r2").expect(1)
        assert time.time() - began < 60
        time.sleep(0.3)
        seen = load.stop()
    print(seen, result.stderr)
    assert "the canary for web failed: " in result.stderr
    assert words in result.stderr
    assert seen.losses.keys() <= {"5xx"}
    assert {loss["detail"] for loss in seen.told} <= {"500 from r2"}
    assert share_of(seen, "r2", answered) <= 0.11  # answers that are under way at the first and the last one
    assert host.history()[-1]["outcome"] == "rolled-back"
    nothing_left_behind(host, "r1", count=2)


def test_a_good_revision_goes_on_and_loses_nothing(host: TestHost) -> None:
    deploy(host)
    with host.load(busy=20, idle=20) as load:
        host.upgrade("r2", check=True)
        seen = load.stop()
    assert seen.lost == 0, f"{seen}\n{seen.told[:10]}"
    assert 3 <= float(host.history()[-1]["steps"]["canary"]) < 60
    nothing_left_behind(host, "r2", count=2)


@pytest.mark.long
def test_an_operator_promotes_it(host: TestHost) -> None:
    deploy(host, **{"for": "60s"})
    refused = host.conductor("service", "upgrade", "--id", "web", "--promote")
    assert "cannot promote web: it has no canary in progress" in refused.expect(1).stderr
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2", "--canary", "50%")
    host.wait_for(lambda: host.get().revision == "r2", "an answer of r2")
    assert {host.get().revision for _ in range(8)} == {"r1", "r2"}
    host.conductor("service", "upgrade", "--id", "web", "--promote", check=True)
    upgrade.wait(30).expect(0)
    nothing_left_behind(host, "r2", count=2)


@pytest.mark.long
def test_a_killed_canary_is_rolled_back_by_the_next_command(host: TestHost) -> None:
    deploy(host, **{"for": "60s", "share": "50%"})
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    host.wait_for(lambda: host.get().revision == "r2", "an answer of r2")
    upgrade.kill()
    with host.load(busy=20, idle=0) as load:
        told = host.conductor("service", "restart", "--id", "web", check=True).stderr
        seen = load.stop()
    assert "was interrupted: rolling it back" in told
    assert seen.lost == 0, f"{seen}\n{seen.told[:10]}"
    nothing_left_behind(host, "r1", count=2)
