"""Invalid options of `conductor service` are refused before anything is read."""

import pytest

from conductor.cli import run

CASES = [
    (["scale", "--id", "web"], "--count N or --reset"),
    (["scale", "--id", "web", "--count", "1", "--reset"], "--count N or --reset"),
    (["scale", "--id", "web", "--count", "-1"], "-1"),
    (["upgrade", "--id", "web"], "--revision"),
    (["upgrade", "--id", "web", "--revision", "feature/x"], "feature/x"),
    (["upgrade", "--id", "web", "--revision", "-r2"], "-r2"),
    (["upgrade", "--id", "web", "--revision", ""], "''"),
    (["upgrade", "--id", "web", "--revision", "r" * 129], "128"),
    (["start", "--id", "web", "--wait", "soon"], "--wait"),
    (["stop"], "--id"),
    (["maintenance", "--id", "web"], "off"),
    (["maintenance", "--id", "web", "pause"], "pause"),
    (["maintenance", "--id", "web", "off", "--message", "x"], "--message"),
    (["maintenance", "--id", "web", "on", "--message", ""], "one line"),
    (["maintenance", "--id", "web", "on", "--message", "a\nb"], "one line"),
    (["maintenance", "--id", "web", "on", "--message", "\udcff"], "UTF-8"),
    (["maintenance", "--id", "web", "on", "--message", "x" * 501], "500"),
]


@pytest.mark.parametrize(("words", "named"), CASES, ids=[" ".join(words)[:40] for words, _ in CASES])
def test_invalid_options(words: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", *words, "--config", "/nonexistent"]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert "/nonexistent" not in error
