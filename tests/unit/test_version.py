"""The version that is printed: with the commit that a build wrote into the package, or with that of a checkout."""

import re
import subprocess
from pathlib import Path

import pytest

import conductor
from conductor.commands.help import pages
from conductor.version import checked_out_commit, version

SEMANTIC = re.compile(r"(\d+)\.(\d+)\.(\d+)")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    git(tmp_path, "init", "--quiet", "--initial-branch", "topic/one", str(path))
    git(path, "commit", "--quiet", "--allow-empty", "--message", "one")
    return path


def git(directory: Path, *words: str) -> str:
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *words], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "state",
    [
        pytest.param((), id="a branch"),
        pytest.param(("pack-refs", "--all"), id="a packed branch"),
        pytest.param(("checkout", "--quiet", "--detach"), id="no branch"),
    ],
)
def test_the_commit_of_a_checkout_is_that_of_git(repository: Path, state: tuple[str, ...]) -> None:
    if state:
        git(repository, *state)
    assert checked_out_commit(repository) == git(repository, "rev-parse", "HEAD")


@pytest.mark.parametrize("state", [(), ("pack-refs", "--all")])
def test_a_second_worktree_has_its_own_commit(repository: Path, state: tuple[str, ...]) -> None:
    second = repository.parent / "second"
    git(repository, "worktree", "add", "--quiet", "-b", "other", str(second))
    git(second, "commit", "--quiet", "--allow-empty", "--message", "two")
    if state:
        git(repository, *state)
    assert checked_out_commit(second) == git(second, "rev-parse", "HEAD") != git(repository, "rev-parse", "HEAD")


def test_without_a_commit_there_is_none(tmp_path: Path) -> None:
    assert checked_out_commit(tmp_path) == ""
    git(tmp_path, "init", "--quiet")
    assert checked_out_commit(tmp_path) == ""
    (tmp_path / ".git" / "HEAD").unlink()
    assert checked_out_commit(tmp_path) == ""


def test_the_commit_of_a_build_comes_first(repository: Path) -> None:
    built, checked_out = "0123456789abcdef" * 2 + "01234567", git(repository, "rev-parse", "HEAD")
    assert version(built, repository) == f"{conductor.__version__} (0123456789ab)"
    assert version(f"{built[:12]}-dirty", repository) == f"{conductor.__version__} (0123456789ab-dirty)"
    assert version("", repository) == f"{conductor.__version__} ({checked_out[:12]})"
    assert version("", repository.parent) == conductor.__version__


def test_the_changelog_begins_with_this_version_and_goes_back() -> None:
    found = re.findall(r"^## (\S+)", pages()["changelog"], re.MULTILINE)
    numbers = [tuple(map(int, match.groups())) for one in found if (match := SEMANTIC.fullmatch(one))]
    assert len(numbers) == len(found)
    assert found[0] == conductor.__version__
    assert numbers == sorted(set(numbers), reverse=True)
