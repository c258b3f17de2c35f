"""Every file of examples/ is named in a test, or belongs to a directory that a test uses as a whole."""

import functools
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Directories and files that one test builds or runs as a whole.
WHOLE = {
    "payments/": "tests/integration/test_demo.py",  # also tests/unit/examples/test_payments.py
    "demo_parts/": "tests/integration/test_demo.py",
    "fleet_parts/": "tests/host/test_example_fleet.py",
    "capistrano/": "tests/integration/test_example_files.py",  # cap loads all of it
    "fabric/": "tests/integration/test_example_files.py",
    "debian/": "tests/host/test_deb.py",
    "packer/": "tests/integration/test_example_files.py",
    "README.md": "tests/unit/examples/test_every_file.py",
}


def files_of_examples() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "examples"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [line.removeprefix("examples/") for line in listed.stdout.splitlines() if (ROOT / line).exists()]


@functools.cache
def sources_of_tests() -> dict[str, str]:
    found = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    return {name: text for name, text in found.items() if ROOT / name != Path(__file__)}


def uncovered(files: list[str], tests: dict[str, str]) -> list[str]:
    code = [re.sub(r"(?m)(^|\s)#.*$", "", text).replace('" / "', "/") for text in tests.values()]
    return [name for name in files if not name.startswith(tuple(WHOLE)) and not any(names(text, name) for text in code)]


def names(code: str, file: str) -> bool:
    """Return whether the code has the file's path, as a string or joined with `/`, or its directory and its name."""
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
def test_a_file_without_a_test_is_found(name: str, expected: list[str]) -> None:
    assert uncovered([name], sources_of_tests()) == expected


def test_a_comment_does_not_count() -> None:
    assert uncovered(["new/thing.yml"], {"test_new.py": "x = 1  # new/thing.yml\n"}) == ["new/thing.yml"]


def test_the_readme_lists_every_directory() -> None:
    readme = (ROOT / "examples" / "README.md").read_text()
    parts = {name.partition("/")[0] for name in files_of_examples()} - {"README.md", "demo_parts", "fleet_parts"}
    assert [part for part in parts if f"| `{part}" not in readme] == []
