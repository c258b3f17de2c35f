"""`conductor config`: its output on each stream, and the errors that it raises."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

import conductor
from conductor.cli import GROUPS, LazyGroup
from conductor.definitions.problems import DefinitionsError
from conductor.errors import ConductorError, UsageError

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
    left_out = " (secret files and env files were not checked; add --files)"
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{path}: 1 service, no problems{left_out}\n", "")
    assert run("check", "--config", str(path), path=path).stdout == result.stdout


def test_check_leaves_nothing_out(path: Path) -> None:
    (path.parent / "secret").write_text("a value")
    read = WEB.replace("/nope/secret", str(path.parent / "secret"))
    for words, text in ((["--files"], read), ([], "version: 1\nservices:\n  web: {image: x, count: 0}\n")):
        assert run("check", *words, text=text, path=path).stdout == f"{path}: 1 service, no problems\n"


def test_check_warns_of_a_missing_program_of_cron_jobs(path: Path) -> None:
    crons = WEB.replace("image: x", "image: x, cron: {generate: [y]}").replace(
        "services:", "host: {cron: {command: /nope/c}}\nservices:"
    )
    result = run("check", text=crons, path=path)
    warning = "/nope/c is not an executable file, so no cron job can run (host.cron.command)"
    assert result.exit_code == 0
    assert result.stderr == f"warning: {path}: {warning}; run ln -s $(command -v conductor) /nope/c\n"
    for text in (crons.replace("/nope/c", "/bin/sh"), crons.replace(", cron: {generate: [y]}", "")):
        assert run("check", text=text, path=path).stderr == ""


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


def test_check_reads_the_files_of_header_values(path: Path) -> None:
    secret = path.parent / "secret"
    secret.write_text("x")
    health = "health: {path: /, headers: {Authorization: {file: /nope/header}}}"
    text = WEB.replace("/nope/secret", str(secret)).replace("health: {path: /}", health)
    result = run("check", "--files", text=text, path=path)
    assert isinstance(result.exception, DefinitionsError)
    problem = "services.web.health.headers.Authorization: cannot be read: No such file or directory"
    assert result.exception.details == (f"/nope/header: {problem}",)


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
    assert shown["services"]["web"]["stop"] == {"signal": "SIGTERM", "grace": "30s", "wait": True}
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


def test_notify_delivers_a_test(path: Path) -> None:
    """For a service, for the host, without settings, and when the delivery fails."""
    job = "image: x, count: 0"
    got = path.parent / "got"
    state = f"state_dir: {path.parent}/state, runtime_dir: {path.parent}/run"
    text = f"version: 1\nhost: {{{state}, notify: [/bin/sh, -c, 'echo no pager >&2; exit 3']}}\nservices:\n"
    text += f"  web: {{{job}, notify: {{command: [/bin/sh, -c, 'cat >{got}'], on: []}}}}\n  job: {{{job}}}\n"
    result = run("notify", "--id", "web", text=text, path=path)
    assert (result.exit_code, result.stderr) == (0, "")
    printed = json.loads(result.stdout)
    assert json.loads(got.read_text()) == printed
    assert (printed["event"], printed["service"], printed["outcome"]) == ("test", "web", None)
    for words, about in (((), "this host"), (("--id", "job"), "job")):
        failed = run("notify", *words, text=text, path=path).exception
        assert isinstance(failed, ConductorError)
        assert (failed.sentence, failed.code) == (
            f"cannot send a notification about {about}: /bin/sh exited with code 3: no pager",
            1,
        )
    for words, sentence in (
        ((), "cannot send a notification about this host: notify is not set"),
        (("--id", "job"), "cannot send a notification about job: notify is not set"),
    ):
        unset = run("notify", *words, text=text.replace(", notify: [/bin", ", keep: 3} #"), path=path).exception
        assert isinstance(unset, UsageError)
        assert unset.sentence == sentence
    unknown = run("notify", "--id", "wep", text=text, path=path).exception
    assert isinstance(unknown, UsageError)
    assert unknown.hint == "did you mean web?"


def test_check_finds_unusable_notifications_with_files(path: Path) -> None:
    text = "version: 1\nhost: {notify: {webhook: {file: /nope/url}}}\nservices:\n"
    text += "  job: {image: x, count: 0, notify: [/nope/page-me]}\n"
    assert run("check", text=text, path=path).stderr == ""
    result = run("check", "--files", text=text, path=path)
    assert (result.exit_code, result.stderr.splitlines()) == (
        0,
        [
            f"warning: {path}: host.notify: cannot read /nope/url: No such file or directory",
            f"warning: {path}: services.job.notify: /nope/page-me is not an executable file",
        ],
    )
