"""The cookbook's sudoers file with Debian's sudo: it permits deploys and nothing else as root."""

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from conductor.cli import run as conductor
from tests.support.chef_runs import render
from tests.support.overlay import PATH, Overlay

SHA = "279d9035886d4c0427549863c4c2101e4a63e041"
COMMAND = "/usr/local/bin/conductor"
WITNESS = "#!/usr/bin/python3\nimport json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ), os.getuid()]))\n"
# Another sudoers file that keeps dangerous variables.
CARELESS = 'Defaults env_keep += "CONDUCTOR_CONFIG PYTHONPATH DOCKER_HOST LD_PRELOAD"\n'
HOSTILE = {"CONDUCTOR_CONFIG": "/tmp/mine.yml", "PYTHONPATH": "/tmp", "DOCKER_HOST": "tcp://evil", "NO_COLOR": "1"}
DEPLOY = ["service", "upgrade", "--id", "web", "--revision", SHA]


@pytest.fixture(scope="module")
def machine() -> Iterator[Overlay]:
    """A machine with the user `deploy`, the sudoers file, and a program in Conductor's place that prints how it was called."""
    ((text, _),) = render(("sudoers.erb", {"users": ["deploy"]}))
    with Overlay() as made:
        made.checked("useradd", "--create-home", "deploy")
        made.put("/etc/sudoers.d/0-careless", CARELESS, "0440")
        made.put("/etc/sudoers.d/conductor", text, "0440")
        made.put(COMMAND, WITNESS, "0755")
        yield made


def sudo(machine: Overlay, *words: str) -> list[object] | None:
    """Return the witness's arguments, environment and user id when `deploy` runs it with sudo; None if sudo denies it."""
    done = machine.run(
        "setpriv", "--reuid=deploy", "--regid=deploy", "--init-groups", "sudo", "-n", *words, env=HOSTILE
    )
    if done.returncode == 0:
        seen: list[object] = json.loads(done.stdout)
        return seen
    assert done.returncode == 1, done
    assert "sudo: " in done.stderr or "usage: sudo" in done.stderr, done
    assert done.stdout == ""
    return None


def test_visudo_accepts_the_file(machine: Overlay) -> None:
    assert "/etc/sudoers.d/conductor: parsed OK" in machine.checked("visudo", "-c")


def test_sudo_permits_deploys_and_nothing_else(machine: Overlay) -> None:
    listed = machine.checked("sudo", "-l", "-U", "deploy")
    granted = listed.split("may run the following commands", 1)[1].splitlines()[1:]
    upgrade = "^service upgrade( --id [a-z0-9][a-z0-9_-]*)+ --revision [0-9a-f]{40}( --json)?$"
    rollback = "^service rollback --id [a-z0-9][a-z0-9_-]*( --json)?$"
    assert (
        " ".join(" ".join(granted).split()) == f"(root) NOSETENV: NOPASSWD: {COMMAND} {upgrade}, {COMMAND} {rollback}"
    )


@pytest.mark.parametrize(
    "words",
    [
        DEPLOY,
        [*DEPLOY, "--json"],
        ["service", "upgrade", "--id", "web", "--id", "shop_worker-2", "--revision", SHA],
        ["service", "rollback", "--id", "gocardless_app_production"],
        ["service", "rollback", "--id", "web", "--json"],
    ],
)
def test_deploys_pass_without_the_callers_environment(machine: Overlay, words: list[str]) -> None:
    seen = sudo(machine, "conductor", *words)
    assert seen is not None
    argv, environment, uid = seen
    assert (argv, uid) == (words, 0)
    assert isinstance(environment, dict)
    assert environment["SUDO_USER"] == "deploy"
    assert environment["NO_COLOR"] == "1"
    assert not {"CONDUCTOR_CONFIG", "PYTHONPATH", "DOCKER_HOST"} & set(environment)
    assert environment["PATH"] == PATH


@pytest.mark.parametrize(
    "words",
    [
        [COMMAND],
        [COMMAND, "service"],
        [COMMAND, "service", "upgrade"],
        [COMMAND, "service", "upgrade", "--revision", SHA],
        [COMMAND, "service", "upgrade", "--id", "web"],
        [COMMAND, *DEPLOY, "--config", "/tmp/mine.yml"],
        [COMMAND, "service", "upgrade", "--config", "/tmp/mine.yml", "--id", "web", "--revision", SHA],
        [COMMAND, "service", "upgrade", "--id", "web --config /tmp/mine.yml", "--revision", SHA],
        [COMMAND, "service", "upgrade", "--id", "web\n--config=/tmp/mine.yml", "--revision", SHA],
        [COMMAND, "service", "upgrade", "--id", "web\t--force", "--revision", SHA],
        [COMMAND, "service", "upgrade", "--id", "web ", "--revision", SHA],
        [COMMAND, "service", "upgrade", "--id", "", "--revision", SHA],
        [COMMAND, "service", "upgrade", "--id=web", "--revision", SHA],
        [COMMAND, "service", "upgrade", "--id", "../web", "--revision", SHA],
        [COMMAND, "service", "upgrade", "--id", "--force", "--revision", SHA],
        [COMMAND, "service", "upgrade", "--id", "Web", "--revision", SHA],
        [COMMAND, "service", "upgrade", "--id", "web", "--revision", SHA[:-1]],
        [COMMAND, "service", "upgrade", "--id", "web", "--revision", f"{SHA}0"],
        [COMMAND, "service", "upgrade", "--id", "web", "--revision", f"{SHA}\n"],
        [COMMAND, "service", "upgrade", "--id", "web", "--revision", "latest"],
        [COMMAND, "service", "upgrade", "--id", "web", "--revision", SHA.upper()],
        [COMMAND, *DEPLOY, "--json", "--force"],
        [COMMAND, *DEPLOY, "--jsonx"],
        [COMMAND, *DEPLOY, "--json", "--json"],
        [COMMAND, *DEPLOY, "--force"],
        [COMMAND, *DEPLOY, "--skip-hooks"],
        [COMMAND, *DEPLOY, ""],
        [COMMAND, "service", "rollback", "--id", "web", "--id", "other"],
        [COMMAND, "service", "rollback", "--id", "web", "--to", SHA],
        [COMMAND, "service", "stop", "--id", "web", "--reason", "x"],
        [COMMAND, "run", "--id", "web", "sh"],
        [COMMAND, "supervise"],
        [COMMAND, "--help"],
        ["/bin/sh", "-c", "id"],
        ["/usr/bin/env", COMMAND, *DEPLOY],
        ["-u", "daemon", COMMAND, *DEPLOY],
        ["-g", "docker", COMMAND, *DEPLOY],
        ["-D", "/tmp", COMMAND, *DEPLOY],
        ["-R", "/tmp", COMMAND, *DEPLOY],
        ["-E", COMMAND, *DEPLOY],
        ["--preserve-env=CONDUCTOR_CONFIG", COMMAND, *DEPLOY],
        ["CONDUCTOR_CONFIG=/tmp/mine.yml", COMMAND, *DEPLOY],
        ["-e", "/etc/conductor/services.yml"],
        ["-s"],
        ["-i"],
    ],
    ids=lambda words: " ".join(words[:9]).replace(SHA, "SHA"),
)
def test_anything_else_is_denied(machine: Overlay, words: list[str]) -> None:
    assert sudo(machine, *words) is None


def test_arguments_joined_with_spaces_pass_sudo_and_are_rejected_by_conductor(
    machine: Overlay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sudo matches all arguments joined by spaces. Conductor rejects every other division into arguments as a usage error."""
    joined = f"web --revision {SHA}"
    seen = sudo(machine, COMMAND, "service", "upgrade", "--id", joined)
    assert seen is not None
    assert seen[0] == ["service", "upgrade", "--id", joined]
    host = {"docker": f"unix://{tmp_path}/none", "state_dir": f"{tmp_path}/state", "runtime_dir": f"{tmp_path}/run"}
    services = {"web": {"image": "x", "health": {"none": True}}}
    (tmp_path / "services.yml").write_text(json.dumps({"version": 1, "host": host, "services": services}))
    monkeypatch.setenv("CONDUCTOR_CONFIG", str(tmp_path / "services.yml"))
    divided = subprocess.run([sys.executable, "-m", "conductor", *DEPLOY], capture_output=True, check=False)
    assert divided.returncode == 1, divided  # no Docker daemon
    for separators in product(" \0", repeat=len(DEPLOY) - 1):
        words = "".join(word + space for word, space in zip(DEPLOY, (*separators, ""), strict=True)).split("\0")
        assert words == DEPLOY or conductor(words) == 2, words
