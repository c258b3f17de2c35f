"""Env files in Docker's format, secrets from files, and problems that show no value."""

import os
from pathlib import Path

import pytest

from conductor.definitions.environment import environment
from conductor.definitions.model import SecretRef, Service
from conductor.definitions.problems import DefinitionsError
from conductor.definitions.scalars import Secret


def revealed(values: dict[str, str | Secret]) -> dict[str, str]:
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in values.items()}


def from_file(tmp_path: Path, text: bytes, **env: str | SecretRef) -> dict[str, str | Secret]:
    path = tmp_path / "app.env"
    path.write_bytes(text)
    return environment(Service(image="x", env_file=str(path), env=env))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"", {}),
        (b"A=x\nB=y", {"A": "x", "B": "y"}),
        (b"# A=x\n\n  \n\t# B\nC=#d", {"C": "#d"}),
        (b"A='x y'\nB=\"z\"\nC=$A", {"A": "'x y'", "B": '"z"', "C": "$A"}),
        (b"A=\nB==\nC=a=b", {"A": "", "B": "=", "C": "a=b"}),
        (b"  A= x \t", {"A": " x \t"}),
        (b"A=x\r\nB=y\r\n", {"A": "x", "B": "y"}),
        (b"\xef\xbb\xbfA=x", {"A": "x"}),
        (b"A=x\nA=y", {"A": "y"}),
        ("A=é\x85\u2028\x0cé".encode(), {"A": "é\x85\u2028\x0cé"}),
    ],
)
def test_env_files(tmp_path: Path, text: bytes, values: dict[str, str]) -> None:
    result = from_file(tmp_path, text)
    assert revealed(result) == values
    assert all(isinstance(value, Secret) for value in result.values())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"A=x\nHOME\n", ":2: variable without a value; write NAME=VALUE"),
        (b"A b=hunter2", ":1: invalid variable name; write NAME=VALUE"),
        (b"\n=hunter2", ":2: invalid variable name; write NAME=VALUE"),
        (b"export A=hunter2", ":1: invalid variable name; write NAME=VALUE"),
        (b"hunter2", ":1: variable without a value; write NAME=VALUE"),
        (b"hunter2!", ":1: invalid variable name; write NAME=VALUE"),
        (b"A=hunter2\xff", ": env_file: must be UTF-8 text"),
        (b"A=hunter2\0", ": env_file: must not contain a NUL character"),
    ],
)
def test_problems_of_env_files_show_no_value(tmp_path: Path, text: bytes, problem: str) -> None:
    with pytest.raises(DefinitionsError) as caught:
        from_file(tmp_path, text)
    assert caught.value.details == (f"{tmp_path}/app.env{problem}",)
    assert "hunter2" not in repr(caught.value)


def test_env_overrides_env_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s\n\n")
    result = from_file(tmp_path, b"A=x\nB=y\nC=z", A="own", C=SecretRef(file=str(secret)))
    assert revealed(result) == {"A": "own", "B": "y", "C": "s\n"}
    assert result["A"] == "own"
    assert isinstance(result["C"], Secret)


def test_all_problems_of_all_files_at_once(tmp_path: Path) -> None:
    (tmp_path / "nul").write_bytes(b"hunter2\0")
    (tmp_path / "latin").write_bytes(b"hunter2\xe9")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    names = {"A": "missing", "B": "", "C": "nul", "D": "latin", "E": "pipe", "F": "loop"}
    env = {name: SecretRef(file=str(tmp_path / file)) for name, file in names.items()}
    with pytest.raises(DefinitionsError) as caught:
        environment(Service(image="x", env=env, env_file=str(tmp_path / "gone.env")))
    assert caught.value.exit_code == 2
    problems = [
        (problem.file.removeprefix(str(tmp_path)), problem.line, problem.key) for problem in caught.value.problems
    ]
    assert problems == [
        ("", 0, "env.B"),
        ("/gone.env", 0, "env_file"),
        ("/latin", 0, "env.D"),
        ("/loop", 0, "env.F"),
        ("/missing", 0, "env.A"),
        ("/nul", 0, "env.C"),
        ("/pipe", 0, "env.E"),
    ]


def test_sentences_about_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    env = {name: SecretRef(file=str(tmp_path / file)) for name, file in {"A": "missing", "B": "", "C": "pipe"}.items()}
    with pytest.raises(DefinitionsError) as caught:
        environment(Service(image="x", env=env))
    assert {problem.key: problem.sentence for problem in caught.value.problems} == {
        "env.A": "cannot be read: No such file or directory",
        "env.B": "must be a regular file, not a directory",
        "env.C": "must be a regular file, not a device or pipe",
    }
