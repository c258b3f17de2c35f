"""Env files in Docker's format, secrets from files, and problems that show no value."""

import os
from pathlib import Path

import pytest

from conductor.definitions.environment import HIDDEN, environment, file_warnings, redaction, secrets
from conductor.definitions.model import EnvFile, Health, Service
from conductor.definitions.problems import DefinitionsError
from conductor.definitions.scalars import Secret
from conductor.definitions.section import SecretRef


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
        (
            b"ConnectionStrings:Default=x\n1PASS=y\nDB[host]=z\na/b+c=",
            {"ConnectionStrings:Default": "x", "1PASS": "y", "DB[host]": "z", "a/b+c": ""},
        ),
        ("A=é\x85\u2028\x0cé".encode(), {"A": "é\x85\u2028\x0cé"}),
    ],
)
def test_env_files(tmp_path: Path, text: bytes, values: dict[str, str]) -> None:
    result = from_file(tmp_path, text)
    assert revealed(result) == values


def secret_names(values: dict[str, str | Secret]) -> set[str]:
    return {name for name, value in values.items() if isinstance(value, Secret)}


@pytest.mark.parametrize(
    "line",
    [
        "DB_PASSWORD=x", "PGPASSWD=x", "DB_PASS=x", "DB_PWD=x", "PASSPHRASE=x", "API_TOKEN=x", "API_KEY=x", "APIKEY=x", "api-keys=x",
        "SECRET_KEY_BASE=x", "SENTRY_DSN=x", "AWS_CREDENTIALS=x", "ConnectionStrings:Default=Server=a;Password=b",
        "DATABASE_URL=postgres://shop:pw@db/shop", "BROKER=redis://:p@ss@cache:6379/0", "DATABASE_URL=postgres://shop:p/w@db/shop", "FEED_URL=https://t0ken@feed.example/",
    ],
)  # fmt: skip
def test_a_value_of_an_env_file_that_looks_like_a_secret_is_one(tmp_path: Path, line: str) -> None:
    assert secret_names(from_file(tmp_path, line.encode())) == {line.partition("=")[0]}


@pytest.mark.parametrize(
    "line",
    [
        "RAILS_ENV=production", "PWD=/app", "KEYBOARD=us", "COMPASS=north", "CACHE_URL=redis://cache:6379/0",
        "HOME_URL=https://shop.example/@anna", "HOME_URL=https://shop.example:443/@anna", "MAIL=a@b.example", "DATABASE_URL=sqlite:///db", "DSNAME=x",
    ],
)  # fmt: skip
def test_an_ordinary_setting_of_an_env_file_is_no_secret(tmp_path: Path, line: str) -> None:
    assert secret_names(from_file(tmp_path, line.encode())) == set()


def test_all_values_of_a_secret_env_file_are_secrets(tmp_path: Path) -> None:
    path = tmp_path / "app.env"
    path.write_text("RAILS_ENV=production\nA=x\n")
    service = Service(image="x", env_file=EnvFile(path=str(path), secret=True))
    assert secret_names(environment(service)) == {"RAILS_ENV", "A"}
    assert secret_names(environment(Service(image="x", env_file=EnvFile(path=str(path))))) == set()


def test_an_ordinary_setting_is_not_removed_from_a_text(tmp_path: Path) -> None:
    path = tmp_path / "app.env"
    path.write_text("RAILS_ENV=production\nDB_PASSWORD=hunter2\n")
    redact = redaction(Service(image="x", env_file=str(path)))
    assert redact("GET production/health hunter2") == "GET production/health [secret]"


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (b"A='x'\nB=\"y\"\nC='\nD=it's\nE='x\"\nF=''", [1, 2, 6]),
        (b"\xef\xbb\xbfA=x\r\n", []),
        (b"A=x\nB C=x", []),
        (b"A:B[c].d-1=x\npostgres://a:b@c/d?ssl=1\naGVsbG8/==", [2, 3]),
    ],
)
def test_quotes_and_unusual_names_in_an_env_file_cause_a_warning(
    tmp_path: Path, text: bytes, warnings: list[int]
) -> None:
    path = tmp_path / "app.env"
    path.write_bytes(text)
    found = file_warnings(Service(image="x", env_file=str(path)))
    assert [(problem.file, problem.line, problem.key) for problem in found] == [
        (str(path), line, "") for line in warnings
    ]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (b"hunter2\n", []),
        (b"hunter2\r\n", ["1: has a carriage return, which becomes part of the value; end lines with \\n"]),
        (b"hunter2\nx\r\n", ["2: has a carriage return, which becomes part of the value; end lines with \\n"]),
        (b"\xef\xbb\xbfhunter2", ["1: starts with a byte order mark, which becomes part of the value; save the file without it"]),
    ],
)  # fmt: skip
def test_what_an_editor_adds_to_a_secret_file_causes_a_warning(
    tmp_path: Path, text: bytes, sentences: list[str]
) -> None:
    path = tmp_path / "key"
    path.write_bytes(text)
    service = Service(image="x", env={"A": SecretRef(file=str(path))})
    found = file_warnings(service)
    assert [f"{problem.line}: {problem.sentence}" for problem in found] == sentences
    assert revealed(environment(service)) == {"A": text.decode().removesuffix("\n")}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"A=x\nHOME\n", ":2: variable without a value; write NAME=VALUE"),
        (b"A=x\n-----BEGIN RSA hunter2 KEY-----", ":2: invalid variable name; write NAME=VALUE"),
        (b"hunter2=\thunter2\npostgres://anna:hunter2@db/x", ":2: variable without a value; write NAME=VALUE"),
        (b'{"password": "hunter2"}', ":1: invalid variable name; write NAME=VALUE"),
        (b"A b=hunter2", ":1: invalid variable name; write NAME=VALUE"),
        (b"\n=hunter2", ":2: invalid variable name; write NAME=VALUE"),
        (b"export A=hunter2", ":1: export is not part of the format; write NAME=VALUE"),
        (b"hunter2", ":1: variable without a value; write NAME=VALUE"),
        (b"hunter2!", ":1: variable without a value; write NAME=VALUE"),
        (b"A=hunter2\xff", ": env_file: must be UTF-8 text"),
        (b"A=hunter2\0", ": env_file: must not contain a NUL character"),
    ],
)
def test_problems_of_env_files_show_no_value(tmp_path: Path, text: bytes, problem: str) -> None:
    with pytest.raises(DefinitionsError) as caught:
        from_file(tmp_path, text)
    assert caught.value.details == (f"{tmp_path}/app.env{problem}",)
    assert "hunter2" not in repr(caught.value)
    assert not any(
        "hunter2" in str(part) for part in (caught.value.problems, caught.value.__cause__, caught.value.hint)
    )


def with_header(path: Path, **env: str | SecretRef) -> Service:
    return Service(image="x", env=env, health=Health(path="/", headers={"Authorization": SecretRef(file=str(path))}))


def test_the_headers_of_a_check_are_secrets_too(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("Bearer hunter2\n")
    service = with_header(tmp_path / "token", A="b")
    assert redaction(service)("got Bearer hunter2") == "got [secret]"
    assert environment(service) == {"A": "b"}


@pytest.mark.parametrize("text", [None, "hunter2\nmore\n", "hunter2\x00", "hunter2 \N{SNOWMAN}"])
def test_problems_of_headers_show_no_value(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "token").write_text(text)
    with pytest.raises(DefinitionsError) as caught:
        secrets(with_header(tmp_path / "token"))
    (problem,) = caught.value.problems
    assert (problem.file, problem.key) == (str(tmp_path / "token"), "health.headers.Authorization")
    assert "hunter2" not in str(problem)
    assert redaction(with_header(tmp_path / "token"))("hunter2") == HIDDEN


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
