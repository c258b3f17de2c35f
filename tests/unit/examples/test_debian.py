"""The functions of the Debian package's scripts: an installed version stays while a process runs from it."""

import subprocess
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).resolve().parents[3] / "examples" / "debian" / "functions"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A directory with three versions, of which the third is current, and with what belongs to dpkg."""
    for name in ("package", "1.0+a", "2.0+b", "3.0+c"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "python3").symlink_to("/bin/sleep")
    (tmp_path / "current").symlink_to("3.0+c")
    return tmp_path


def call(installed: Path, command: str) -> str:
    text = FUNCTIONS.read_text()
    assert "here=/opt/conductor/deb " in text
    script = text.replace("here=/opt/conductor/deb ", f"here={installed} ") + command
    return subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stderr


def left(installed: Path) -> list[str]:
    return sorted(path.name for path in installed.iterdir())


def test_versions_that_are_not_named_are_removed(installed: Path) -> None:
    assert call(installed, "remove_versions 3.0+c 2.0+b") == ""
    assert left(installed) == ["2.0+b", "3.0+c", "current", "package"]


def test_without_a_previous_version_only_the_named_one_stays(installed: Path) -> None:
    assert call(installed, 'remove_versions 3.0+c ""') == ""
    assert left(installed) == ["3.0+c", "current", "package"]


def test_a_version_stays_while_a_process_runs_from_it(installed: Path) -> None:
    with subprocess.Popen([installed / "1.0+a" / "bin" / "python3", "60"]) as process:
        try:
            assert call(installed, "remove_versions 3.0+c") == (
                f"conductor: left {installed}/1.0+a: a process still uses it\n"
            )
            assert left(installed) == ["1.0+a", "3.0+c", "current", "package"]
        finally:
            process.kill()
    assert call(installed, "remove_versions 3.0+c") == ""
    assert left(installed) == ["3.0+c", "current", "package"]


def test_nothing_is_installed(tmp_path: Path) -> None:
    assert call(tmp_path / "missing", "remove_versions") == ""
