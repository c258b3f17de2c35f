"""`service history` for one service."""

import json
from pathlib import Path

import pytest

from conductor.cli import run
from conductor.plan.history import HistoryEntry, Outcome
from conductor.state.history import History


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "services.yml"
    state = tmp_path / "state"
    path.write_text(f"version: 1\nhost: {{state_dir: {state}}}\nservices: {{web: {{image: x, count: 0}}}}\n")
    for service in ("web", "gone"):
        entry = HistoryEntry(at="2026-01-01T00:00:00.000Z", service=service, action="stop", outcome=Outcome.DONE)
        History(state).append(entry)
    return path


@pytest.mark.parametrize("service", ["web", "gone"])
def test_a_service_that_is_defined_or_was(config: Path, service: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", "history", "--id", service, "--json", "--config", str(config)]) == 0
    assert [one["service"] for one in json.loads(capsys.readouterr().out)["history"]] == [service]


def test_the_newest_action(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", "history", "--tail", "1", "--json", "--config", str(config)]) == 0
    assert [one["service"] for one in json.loads(capsys.readouterr().out)["history"]] == ["gone"]
    assert run(["service", "history", "--tail", "0", "--config", str(config)]) == 2


def test_an_unknown_service_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", "history", "--id", "wep", "--config", str(config)]) == 2
    assert "did you mean web?" in capsys.readouterr().err
