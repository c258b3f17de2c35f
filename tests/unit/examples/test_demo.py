"""examples/demo --down removes Docker only when Docker reports that nothing else uses it."""

import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[3] / "examples" / "demo"
IN_USE, NOT_IN_USE = 0, 1


@pytest.mark.parametrize(
    ("docker", "code"),
    [
        (None, NOT_IN_USE),  # not installed
        ("exit 1", IN_USE),  # it does not respond, so what it has is unknown
        ("exit 0", NOT_IN_USE),
        ('[ "$1" != volume ] || echo data', IN_USE),
    ],
)
def test_docker_is_in_use(tmp_path: Path, docker: str | None, code: int) -> None:
    lines = DEMO.read_text().splitlines()
    text = "\n".join(_function(lines, name) for name in ("docker_responds", "docker_in_use"))
    for tool in ("bash", "timeout"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    if docker is not None:
        (tmp_path / "docker").write_text(f"#!/usr/bin/bash\n{docker}\n")
        (tmp_path / "docker").chmod(0o755)
    done = subprocess.run(["bash", "-c", f"{text}\ndocker_in_use"], env={"PATH": str(tmp_path)}, check=False)
    assert done.returncode == code


def _function(lines: list[str], name: str) -> str:
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"{name}()"))
    end = next(number for number in range(begin, len(lines)) if lines[number].endswith("}"))
    return "\n".join(lines[begin : end + 1])
