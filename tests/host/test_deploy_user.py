"""The deploy user may upgrade, through sudo, and nothing else of root's."""

import subprocess

import pytest

from tests.support.images import APP
from tests.support.site import Site

SHA = "279d9035886d4c0427549863c4c2101e4a63e041"
UPGRADE = ("conductor", "service", "upgrade")
EVIL = "/tmp/evil.yml"


@pytest.fixture(autouse=True)
def revision(site: Site) -> None:
    """A git revision, as deploys name it."""
    site.machine.run("docker", "tag", f"{APP}:r3", f"{APP}:{SHA}")
    site.machine.run("sh", "-c", "cp /usr/local/bin/conductor /tmp/conductor")


def sudo(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """As deploy, without a terminal and without a password."""
    command = site.machine.words("sudo", "--non-interactive", *words, user="deploy")
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_it_upgrades(site: Site) -> None:
    done = sudo(site, *UPGRADE, "--id", "shop", "--id", "api", "--revision", SHA)
    assert done.returncode == 0, done.stderr
    assert site.serves("shop", "r3")  # the image's own name for itself
    told = site.conductor("service", "history", "--id", "shop", check=False)
    assert "deploy" in (told.stdout if told.code == 0 else site.machine.read("/var/lib/conductor/history.jsonl"))


@pytest.mark.parametrize(
    "words",
    [
        [*UPGRADE, "--config", EVIL, "--id", "shop", "--revision", SHA],
        [*UPGRADE, "--id", "shop", "--revision", SHA, "--config", EVIL],
        [*UPGRADE, "--id", f"shop --config {EVIL}", "--revision", SHA],
        [*UPGRADE, "--id", "shop", "--revision", f"{SHA} --config {EVIL}"],
        [*UPGRADE, "--id", "shop", "--revision", f"{SHA}\n--config={EVIL}"],
        [*UPGRADE, "--id", "shop", "--revision", SHA, "--force"],
        [*UPGRADE, "--id", "shop", "--revision", "latest"],
        [*UPGRADE, "--id", "../shop", "--revision", SHA],
        [*UPGRADE, f"--id=shop --config={EVIL}", "--revision", SHA],
        ["CONDUCTOR_CONFIG=/tmp/evil.yml", *UPGRADE, "--id", "shop", "--revision", SHA],
        ["PYTHONPATH=/tmp", *UPGRADE, "--id", "shop", "--revision", SHA],
        ["--user", "www-data", *UPGRADE, "--id", "shop", "--revision", SHA],
        ["conductor", "run", "--id", "shop", "sh"],
        ["conductor", "service", "stop", "--id", "shop"],
        ["conductor", "config", "show"],
        ["/tmp/conductor", "service", "upgrade", "--id", "shop", "--revision", SHA],
        ["python3", "-c", "pass"],
        ["docker", "ps"],
        ["sh"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_nothing_else(site: Site, words: list[str]) -> None:
    """sudo itself refuses: it asks for a password, or says that it is not allowed."""
    refused = sudo(site, *words)
    assert refused.returncode == 1, refused
    assert refused.stderr.startswith("sudo: "), refused.stderr
    assert refused.stdout == ""


def test_words_of_its_own_environment_do_not_arrive(site: Site) -> None:
    """What sudo lets through of it is nothing that steers conductor or Python."""
    site.machine.run("sh", "-c", f"echo nonsense >{EVIL}")
    settings = {"CONDUCTOR_CONFIG": EVIL, "PYTHONPATH": "/tmp", "PYTHONHOME": "/tmp", "DOCKER_HOST": "tcp://192.0.2.1"}
    command = ("sudo", "-n", *UPGRADE, "--id", "shop", "--revision", SHA)
    site.machine.run(*command, user="deploy", env=settings)
    kept = site.machine.run(
        "sudo", "-n", "--preserve-env=PYTHONPATH", *command[2:], user="deploy", env=settings, check=False
    )
    assert (kept.code, kept.stdout) == (1, "")
    assert "not allowed to preserve the environment" in kept.stderr or "not allowed to set" in kept.stderr, kept


@pytest.mark.parametrize(
    "words",
    [
        ["cat", "/etc/conductor/services.yml"],
        ["ls", "/var/lib/conductor"],
        ["ls", "/run/conductor/nginx/private"],
        ["ls", "/run/conductor/locks"],
    ],
    ids=" ".join,
)
def test_it_reads_neither_definitions_nor_state(site: Site, words: list[str]) -> None:
    site.machine.run(*words)
    refused = site.machine.run(*words, user="deploy", check=False)
    assert (refused.code != 0, refused.stdout) == (True, ""), refused
    assert "Permission denied" in refused.stderr
