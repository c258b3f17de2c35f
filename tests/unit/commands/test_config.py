"""`conductor config`: its output on each stream, and the errors that it raises."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

import conductor
from conductor.cli import GROUPS, LazyGroup
from conductor.definitions.problems import DefinitionsError
from conductor.errors import UsageError

WEB = (
    "version: 1\nservices:\n  web: {image: x, port: 80, health: {path: /}, nginx: {}, env: {A: {file: /nope/secret}}}\n"
)


def run(*words: str, text: str = WEB, path: Path) -> Result:
    path.write_text(text)
    return CliRunner().invoke(
        LazyGroup("config", GROUPS["config"], ""), list(words), env={"CONDUCTOR_CONFIG": str(path)}
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "services.yml"


def test_check_of_a_good_file(path: Path) -> None:
    result = run("check", path=path)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{path}: 1 service, no problems\n", "")
    assert run("check", "--config", str(path), path=path).stdout == result.stdout


def test_check_warns_of_unsupported_keys(path: Path) -> None:
    result = run("check", text=WEB.replace("image: x", "image: x, notify: [y]"), path=path)
    assert result.exit_code == 0
    warning = "services.web.notify: this version does not support it; service upgrade will refuse it"
    assert result.stderr == f"warning: {path}: {warning}\n"


def test_check_raises_all_problems(path: Path) -> None:
    result = run("check", text=WEB + "  job: {image: x, cont: 0, init: 1}\n", path=path)
    assert isinstance(result.exception, DefinitionsError)
    assert result.exception.sentence == f"cannot use {path}: 3 problems"
    assert all(line.startswith(f"{path}:4: services.job") for line in result.exception.details)
    assert result.stdout == ""


def test_check_reads_files_only_when_asked(path: Path) -> None:
    result = run("check", "--files", path=path)
    assert isinstance(result.exception, DefinitionsError)
    assert result.exception.details == ("/nope/secret: services.web.env.A: cannot be read: No such file or directory",)


def test_check_warns_of_what_files_contain(path: Path) -> None:
    secret, env_file = path.parent / "secret", path.parent / "env"
    secret.write_bytes(b"hunter2\r\n")
    env_file.write_text("A='hunter2'\n")
    text = WEB.replace("/nope/secret", str(secret)).replace("image: x", f"image: x, env_file: {env_file}")
    assert run("check", text=text, path=path).stderr == ""
    result = run("check", "--files", text=text, path=path)
    assert result.exit_code == 0
    assert [line.rpartition(": ")[0] for line in result.stderr.splitlines()] == [
        f"warning: {env_file}:1",
        f"warning: {secret}:1: services.web.env.A",
    ]
    assert "hunter2" not in result.output


def test_show(path: Path) -> None:
    shown = yaml.safe_load(run("show", path=path).stdout)
    assert shown["host"]["keep"] == 5
    assert shown["services"]["web"]["stop"] == {"signal": "SIGTERM", "grace": "30s"}
    assert shown["services"]["web"]["env"] == {"A": {"file": "/nope/secret"}}
    assert shown["services"]["web"]["nginx"]["upstream"] == "web"
    assert json.loads(run("show", "--json", "--id", "web", path=path).stdout) == shown


def test_show_of_a_file_with_a_broken_service(path: Path) -> None:
    text = WEB + "  job: {image: x, cont: 0}\n"
    assert run("show", "--id", "web", text=text, path=path).exit_code == 0
    everything = run("show", text=text, path=path)
    assert isinstance(everything.exception, DefinitionsError)
    assert list(yaml.safe_load(everything.stdout)["services"]) == ["web"]
    unknown = run("show", "--id", "wep", text=text, path=path).exception
    assert isinstance(unknown, UsageError)
    assert unknown.hint == "did you mean web?"


def test_schema_and_example_are_printed(path: Path) -> None:
    assert json.loads(run("schema", path=path).stdout)["$defs"]["Service"]
    example = run("example", path=path).stdout
    assert example == (Path(conductor.__file__).parent / "templates/services.example.yml").read_text()
    assert run("check", text=example, path=path).exit_code == 0
