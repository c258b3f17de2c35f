"""Every file of examples/ is named by a test, or is of an app or a program that one runs as a whole."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Directories and files with a test that builds or runs all of it.
WHOLE = {
    "payments/": "tests/integration/test_demo.py",  # built and deployed by the demo; tests/unit/examples/test_payments.py
    "demo_parts/": "tests/integration/test_demo.py",
    "capistrano/": "tests/integration/test_example_files.py",  # loaded by every call of cap
    "fabric/": "tests/integration/test_example_files.py",
    "packer/": "tests/integration/test_example_files.py",
    "README.md": "tests/unit/examples/test_every_file.py",
}


def files_of_examples() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "examples"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [line.removeprefix("examples/") for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def sources_of_tests() -> dict[str, str]:
    found = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    return {name: text for name, text in found.items() if ROOT / name != Path(__file__)}


def uncovered(files: list[str], tests: dict[str, str]) -> list[str]:
    code = [re.sub(r"(?m)(^|\s)#.*$", "", text).replace('" / "', "/") for text in tests.values()]
    return [name for name in files if not name.startswith(tuple(WHOLE)) and not any(names(text, name) for text in code)]


def names(code: str, file: str) -> bool:
    """Whether its path below examples/ stands there, or path words joined by `/`, or its directory and its own name."""
    directory, _, name = file.rpartition("/")
    return file in code or (f'"{directory}"' in code and f'"{name}"' in code)


def test_every_file_has_a_test() -> None:
    files = files_of_examples()
    assert len(files) > 30
    assert uncovered(files, sources_of_tests()) == []
    assert [name for name in WHOLE.values() if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("new/thing.yml", ["new/thing.yml"]),
        ("ci/deploy", []),
        ("ci/undeploy", ["ci/undeploy"]),
        ("payments/new.py", []),
    ],
)
def test_a_file_without_one_is_found(name: str, expected: list[str]) -> None:
    assert uncovered([name], sources_of_tests()) == expected


def test_a_comment_tests_nothing() -> None:
    assert uncovered(["new/thing.yml"], {"test_new.py": "x = 1  # new/thing.yml\n"}) == ["new/thing.yml"]


def test_the_readme_tells_what_each_is_for() -> None:
    told = (ROOT / "examples" / "README.md").read_text()
    parts = {name.partition("/")[0] for name in files_of_examples()} - {"README.md", "demo_parts"}
    assert [part for part in parts if f"| `{part}" not in told] == []
