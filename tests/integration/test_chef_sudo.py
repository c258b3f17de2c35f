"""The cookbook's sudoers file with Debian's own sudo: deploys pass, and nothing else of root's."""

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
# A site that keeps more of the environment than is good.
CARELESS = 'Defaults env_keep += "CONDUCTOR_CONFIG PYTHONPATH DOCKER_HOST LD_PRELOAD"\n'
HOSTILE = {"CONDUCTOR_CONFIG": "/tmp/mine.yml", "PYTHONPATH": "/tmp", "DOCKER_HOST": "tcp://evil", "NO_COLOR": "1"}
DEPLOY = ["service", "upgrade", "--id", "web", "--revision", SHA]


@pytest.fixture(scope="module")
def machine() -> Iterator[Overlay]:
    """A machine with the user `deploy`, sudo's file, and a witness in Conductor's place."""
    ((text, _),) = render(("sudoers.erb", {"users": ["deploy"]}))
    with Overlay() as made:
        made.checked("useradd", "--create-home", "deploy")
        made.put("/etc/sudoers.d/0-careless", CARELESS, "0440")
        made.put("/etc/sudoers.d/conductor", text, "0440")
        made.put(COMMAND, WITNESS, "0755")
        yield made


def sudo(machine: Overlay, *words: str) -> list[object] | None:
    """What the witness saw when `deploy` called it with sudo; None when sudo refused."""
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


def test_visudo_takes_the_file(machine: Overlay) -> None:
    assert "/etc/sudoers.d/conductor: parsed OK" in machine.checked("visudo", "-c")


def test_sudo_lists_deploys_and_nothing_else(machine: Overlay) -> None:
    said = machine.checked("sudo", "-l", "-U", "deploy")
    granted = said.split("may run the following commands", 1)[1].splitlines()[1:]
    upgrade = "^service upgrade( --id [a-z0-9][a-z0-9_-]*)+ --revision [0-9a-f]{40}$"
    rollback = "^service rollback --id [a-z0-9][a-z0-9_-]*$"
    assert (
        " ".join(" ".join(granted).split()) == f"(root) NOSETENV: NOPASSWD: {COMMAND} {upgrade}, {COMMAND} {rollback}"
    )


@pytest.mark.parametrize(
    "words",
    [
        DEPLOY,
        ["service", "upgrade", "--id", "web", "--id", "shop_worker-2", "--revision", SHA],
        ["service", "rollback", "--id", "gocardless_app_production"],
    ],
)
def test_deploys_pass_with_no_environment_of_the_callers(machine: Overlay, words: list[str]) -> None:
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
def test_anything_else_is_refused(machine: Overlay, words: list[str]) -> None:
    assert sudo(machine, *words) is None


def test_words_glued_with_blanks_pass_sudo_but_mean_nothing_to_conductor(
    machine: Overlay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sudo matches the words joined by blanks; in whatever other way they were cut, Conductor refuses before it acts."""
    glued = f"web --revision {SHA}"
    seen = sudo(machine, COMMAND, "service", "upgrade", "--id", glued)
    assert seen is not None
    assert seen[0] == ["service", "upgrade", "--id", glued]
    host = {"docker": f"unix://{tmp_path}/none", "state_dir": f"{tmp_path}/state", "runtime_dir": f"{tmp_path}/run"}
    services = {"web": {"image": "x", "health": {"none": True}}}
    (tmp_path / "services.yml").write_text(json.dumps({"version": 1, "host": host, "services": services}))
    monkeypatch.setenv("CONDUCTOR_CONFIG", str(tmp_path / "services.yml"))
    understood = subprocess.run([sys.executable, "-m", "conductor", *DEPLOY], capture_output=True, check=False)
    assert understood.returncode == 1, understood  # there is no daemon
    for glue in product(" \0", repeat=len(DEPLOY) - 1):
        words = "".join(word + space for word, space in zip(DEPLOY, (*glue, ""), strict=True)).split("\0")
        assert words == DEPLOY or conductor(words) == 2, words
