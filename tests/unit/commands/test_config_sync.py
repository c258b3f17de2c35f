"""`conductor config sync`: wrong usage, and the unit that it prints."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conductor.cli import GROUPS, LazyGroup
from conductor.errors import ConductorError, UsageError

URL = "etcd://store/conductor/web1"


def run(*words: str) -> Result:
    return CliRunner().invoke(LazyGroup("config", GROUPS["config"], ""), ["sync", *words])


def test_what_is_no_address_is_wrong_usage(tmp_path: Path) -> None:
    error = run("--from", "redis://store/key", "--config", f"{tmp_path}/services.yml").exception
    assert isinstance(error, UsageError)
    assert list(tmp_path.iterdir()) == []


def test_credentials_that_cannot_be_read() -> None:
    error = run("--from", URL, "--credentials", "/nope/secret").exception
    assert isinstance(error, ConductorError)
    assert error.sentence == "cannot read /nope/secret: No such file or directory"


def test_without_kazoo_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kazoo.client", None)
    monkeypatch.delitem(__import__("sys").modules, "conductor.sync.zookeeper", raising=False)
    error = run("--from", URL.replace("etcd", "zookeeper")).exception
    assert isinstance(error, ConductorError)
    assert error.hint == "install Conductor with the [zookeeper] extra; see conductor help install"


def test_the_unit() -> None:
    text = run("--from", URL, "--print-unit").stdout
    assert f"ExecStart=/usr/local/bin/conductor config sync --watch --from {URL}\n" in text
    assert "ReadWritePaths=/etc/conductor\n" in text


def test_the_unit_of_another_file() -> None:
    words = (
        "--from",
        "etcd://a//50%",
        "--credentials",
        "/secrets/a b",
        "--config",
        "/srv/own/services.yml",
        "--print-unit",
    )
    assert isinstance(run(*words).exception, UsageError)
    text = run("--from", URL, *words[2:]).stdout
    options = f"--from {URL} --credentials '/secrets/a b' --config /srv/own/services.yml"
    assert f"ExecStart=/usr/local/bin/conductor config sync --watch {options}\n" in text
    assert "ReadWritePaths=/srv/own\n" in text
