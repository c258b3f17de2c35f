"""Credentials for a pull: from the caller's Docker configuration, or from a credential helper."""

import base64
import json
import subprocess
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from conductor.errors import ConductorError, Interrupted
from conductor.runtime.docker.credentials import HELPER_SECONDS, INDEX, credentials, registry

REGISTRY = "registry.example:5000"
IMAGE = f"{REGISTRY}/shop/app"
AUTH = base64.b64encode(b"me:secret-77").decode()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the Docker configuration and of the helpers."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def configure(directory: Path, value: Any) -> None:
    (directory / "config.json").write_text(value if isinstance(value, str) else json.dumps(value))


def helper(directory: Path, script: str) -> None:
    path = directory / "docker-credential-test"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    configure(directory, {"credHelpers": {REGISTRY: "test"}, "auths": {REGISTRY: {"auth": AUTH}}})


def found(image: str = IMAGE) -> dict[str, str]:
    return credentials(image, time.monotonic, lambda: None)


IMAGES = {
    "shop": INDEX, "shop/app": INDEX, "localhost/app": "localhost", "localhost:5000/app": "localhost:5000",
    "ghcr.io/shop/app": "ghcr.io", IMAGE: REGISTRY,
}  # fmt: skip


@pytest.mark.parametrize(("image", "expected"), IMAGES.items())
def test_the_registry_of_an_image(image: str, expected: str) -> None:
    assert registry(image) == expected


LOGIN = {"username": "me", "password": "secret-77"}
CONFIGURATIONS: dict[str, tuple[Any, dict[str, str]]] = {
    "an entry": ({"auths": {REGISTRY: {"auth": AUTH}}}, LOGIN),
    "an entry by URL": ({"auths": {f"https://{REGISTRY}/v1/": {"auth": AUTH}}}, LOGIN),
    "in plain text": ({"auths": {REGISTRY: LOGIN}}, LOGIN),
    "a token": ({"auths": {REGISTRY: {"identitytoken": "t", "auth": AUTH}}}, {"identitytoken": "t"}),
    "an empty entry": ({"auths": {REGISTRY: {}}}, {}),
    "another registry": ({"auths": {"ghcr.io": {"auth": AUTH}}}, {}),
    "another registry's helper": ({"credHelpers": {"ghcr.io": "none"}, "auths": {REGISTRY: {"auth": AUTH}}}, LOGIN),
    "another registry's damaged entry": ({"auths": {"a.example": "damaged", REGISTRY: {"auth": AUTH}}}, LOGIN),
    "no credentials at all": ({"proxies": {}}, {}),
}


@pytest.mark.parametrize(("value", "expected"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_configurations(directory: Path, value: Any, expected: dict[str, str]) -> None:
    configure(directory, value)
    assert found() == expected


def test_no_configuration(directory: Path) -> None:
    assert found() == {}


DAMAGED: dict[str, tuple[Any, str]] = {
    "not JSON": ('{\n"auths": secret-77', "line 2 is not valid JSON"),
    "a list": ([], f"its entry for {REGISTRY} is invalid"),
    "an entry that is text": ({"auths": {REGISTRY: "secret-77"}}, f"its entry for {REGISTRY} is invalid"),
    "no base64": ({"auths": {REGISTRY: {"auth": "secret-77"}}}, f"its entry for {REGISTRY} is invalid"),
    "auths that are a list": ({"auths": ["secret-77"]}, f"its entry for {REGISTRY} is invalid"),
}


@pytest.mark.parametrize(("value", "cause"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_configuration_is_named_and_not_quoted(directory: Path, value: Any, cause: str) -> None:
    configure(directory, value)
    with pytest.raises(ConductorError) as raised:
        found()
    assert raised.value.sentence == f"cannot read {directory}/config.json: {cause}"
    assert "secret-77" not in raised.value.hint + "".join(raised.value.details)


HELPERS: dict[str, tuple[str, dict[str, str]]] = {
    "a login": (
        f"""[ "$1 $(cat)" = "get {REGISTRY}" ] && echo '{{"Username": "me", "Secret": "s"}}'""",
        {"username": "me", "password": "s"},
    ),
    "a token": ("""echo '{"Username": "<token>", "Secret": "t"}'""", {"identitytoken": "t"}),
    "nothing: the entry of the file": ("echo credentials not found in native keychain; exit 1", LOGIN),
    "an empty login: the entry of the file": ("""echo '{"Username": "", "Secret": ""}'""", LOGIN),
}


@pytest.mark.parametrize(("script", "expected"), HELPERS.values(), ids=HELPERS)
def test_a_helper(directory: Path, script: str, expected: dict[str, str]) -> None:
    helper(directory, script)
    assert found() == expected


def test_a_store_for_all_registries(directory: Path) -> None:
    helper(directory, """echo '{"Username": "me", "Secret": "s"}'""")
    configure(directory, {"credsStore": "test"})
    assert found() == {"username": "me", "password": "s"}


FAILURES = {
    "an error": ("echo secret-77; exit 3", "it exited with code 3"),
    "no JSON": ("echo secret-77", "its output is invalid"),
    "no login": ("echo '[]'", "its output is invalid"),
}


@pytest.mark.parametrize(("script", "cause"), FAILURES.values(), ids=FAILURES)
def test_a_helper_that_fails(directory: Path, script: str, cause: str) -> None:
    helper(directory, script)
    with pytest.raises(ConductorError) as raised:
        found()
    assert raised.value.sentence == f"cannot get the credentials for {REGISTRY} from docker-credential-test: {cause}"


def test_a_helper_that_is_not_installed(directory: Path) -> None:
    configure(directory, {"credHelpers": {REGISTRY: "missing"}})
    with warnings.catch_warnings(action="error"), pytest.raises(ConductorError) as raised:
        found()
    assert raised.value.sentence.endswith("from docker-credential-missing: it is not installed")
    assert raised.value.exit_code == 1


HANGS = "sleep 300 & echo $! >pids; echo $$ >>pids; wait"


def ended(directory: Path) -> bool:
    """Return whether the helper and the processes that it started end: the kernel needs a moment after SIGKILL."""
    pids, until = (directory / "pids").read_text().split(), time.monotonic() + 10
    while time.monotonic() < until:
        listed = subprocess.run(
            ["ps", "-o", "stat=", "-p", ",".join(pids)], capture_output=True, text=True, check=False
        )
        if all(state.startswith("Z") for state in listed.stdout.split()):
            return True
    return False


def test_a_helper_that_never_answers_is_killed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)
    helper(directory, HANGS)
    times = [0.0]

    def tick() -> None:
        times[0] += HELPER_SECONDS / 4

    with pytest.raises(ConductorError) as raised:
        credentials(IMAGE, lambda: times[0], tick)
    assert raised.value.sentence.endswith(f"it did not respond within {HELPER_SECONDS:g}s and was killed")
    assert ended(directory)


def test_an_interruption_kills_a_helper(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)
    helper(directory, HANGS)

    def tick() -> None:
        if (directory / "pids").exists() and (directory / "pids").read_text().count("\n") == 2:
            raise Interrupted(2)

    with pytest.raises(Interrupted):
        credentials(IMAGE, time.monotonic, tick)
    assert ended(directory)
