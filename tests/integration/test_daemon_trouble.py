"""A Docker daemon that is down, out of permissions, or returns errors."""

import contextlib
import ctypes
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.daemon_between import DaemonBetween, Trouble
from tests.support.host import TestHost, merged

UNSEEN = "\n  web is at revision r1; its replicas cannot be listed now\n"
STARTED = r"^POST .*/containers/\w+/start"
CREATED = r"^POST .*/containers/create"
REMOVED = r"^DELETE .*/containers/"
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


@contextlib.contextmanager
def dead_socket(path: Path, *, listens: bool) -> Iterator[str]:
    """Yield the URL of a socket on which no process listens; with `listens` its file exists."""
    if listens:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    yield f"unix://{path}"
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("left", [False, True], ids=["no socket", "a dead socket"])
def test_docker_does_not_run(serving: TestHost, left: bool) -> None:
    with dead_socket(serving.directory / "docker.sock", listens=left) as url:
        serving.define({"web": QUICK}, host_extra={"docker": url})
        failed(
            serving.upgrade("r2"), 1, f"cannot upgrade web: cannot reach Docker at {url}: Docker is not running",
            "start it with systemctl start docker", UNSEEN,
        )  # fmt: skip
        for verb in ("list", "status"):
            failed(serving.conductor("service", verb), 1, f"cannot reach Docker at {url}: Docker is not running")
    nothing_left_behind(serving, "r1")


def without_the_right_to_any_file() -> None:
    """Let root need permissions for files and sockets like any other user."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def test_no_permission_on_dockers_socket(serving: TestHost) -> None:
    path = serving.directory / "forbidden.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        path.chmod(0)
        serving.define({"web": QUICK}, host_extra={"docker": f"unix://{path}"})
        told = failed(
            serving.upgrade("r2", preexec_fn=without_the_right_to_any_file), 1,
            f"cannot upgrade web: cannot reach Docker at unix://{path}: permission denied\n",
            "run as root or as a member of the docker group", UNSEEN,
        )  # fmt: skip
        assert "is Docker running?" not in told
        assert "systemctl" not in told
    path.unlink()
    nothing_left_behind(serving, "r1")


def test_no_permission_on_the_definitions(serving: TestHost) -> None:
    serving.config.chmod(0)
    result = serving.upgrade("r2", preexec_fn=without_the_right_to_any_file)
    failed(
        result,
        2,
        f"cannot read {serving.config}: permission denied",
        "run the command as root, or as a user with read access",
    )
    nothing_left_behind(serving, "r1")


@pytest.fixture
def between(serving: TestHost) -> Iterator[DaemonBetween]:
    """`serving` on a daemon that can be made to misbehave."""
    with DaemonBetween(serving.directory / "between.sock") as made:
        serving.define({"web": QUICK}, host_extra={"docker": made.url})
        yield made


@pytest.mark.parametrize("call", [CREATED, STARTED, REMOVED], ids=["create", "start", "remove"])
def test_a_500_may_mean_done(serving: TestHost, between: DaemonBetween, call: str) -> None:
    """The result is there: it is found, not repeated, and the upgrade continues."""
    between.trouble = (Trouble(call, done=True),)
    result = serving.upgrade("r2", check=True)
    assert "warning" not in result.stderr
    nothing_left_behind(serving, "r2")


@pytest.mark.parametrize(("call", "verb"), [(CREATED, "create"), (STARTED, "start")], ids=["create", "start"])
def test_a_container_that_cannot_be_made_or_started(
    serving: TestHost, between: DaemonBetween, call: str, verb: str
) -> None:
    between.trouble = (Trouble(call),)
    failed(
        serving.upgrade("r2"), 1,
        f"cannot upgrade web: cannot {verb} container web-r2-", "-1: the disk under the daemon is tired",
        "\n  web is still running r1 with 1 replica\n",
    )  # fmt: skip
    nothing_left_behind(serving, "r1")


def test_an_old_container_that_cannot_be_removed_is_left_to_the_operator(
    serving: TestHost, between: DaemonBetween
) -> None:
    (old,) = serving.containers("web")
    between.trouble = (Trouble(REMOVED),)
    result = serving.upgrade("r2").expect(4)
    assert (
        f"warning: cannot remove container {old.name}: the disk under the daemon is tired; "
        f"remove it by hand: docker rm -f {old.name}\n" in result.stderr
    )
    assert f"\nweb is running r2 with 1 replica; containers to remove by hand: {old.name} (" in result.stderr
    assert result.stderr.rstrip().endswith("1 warning)")
    assert (serving.get().revision, serving.revisions()) == ("r2", ["r2"])
    status = serving.conductor("service", "status", check=True)
    assert f"containers that do not belong to the live release: {old.name}" in status.stdout
    serving.daemon.api.remove_container(old.id, force=True)
    nothing_left_behind(serving, "r2")


def test_a_new_container_that_cannot_be_removed_is_reported(serving: TestHost, between: DaemonBetween) -> None:
    """The upgrade and its rollback fail. The error names the container that is left, and the next command removes it."""
    between.trouble = (Trouble(STARTED), Trouble(REMOVED))
    told = failed(serving.upgrade("r2"), 1, "cannot start container web-r2-", "web is still running r1 with 1 replica")
    (left,) = [c for c in serving.containers("web") if c.revision == "r2"]
    assert f"docker rm -f {left.name}" in told
    between.trouble = ()
    serving.upgrade("r2", check=True)
    nothing_left_behind(serving, "r2")


def test_the_daemon_goes_away_at_the_gate(serving: TestHost, between: DaemonBetween) -> None:
    """An unknown state is no exit. The rollback fails without Docker; the next command does it first."""
    env: dict[str, Any] = {"env": {"FAULT_r2": "never"}, "health": {"start_timeout": "3s"}}
    serving.define({"web": merged(QUICK, env)}, host_extra={"docker": between.url})
    upgrade = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    serving.wait_for(lambda: "    gate  " in upgrade.stderr, "the gate")
    seen = len(between.calls)
    inspected = re.compile(r"/containers/[0-9a-f]{64}/json")
    serving.wait_for(lambda: any(map(inspected.search, between.calls[seen:])), "a look at the new replica")
    between.trouble = (Trouble("."),)
    result = upgrade.wait(20)
    told = failed(
        result, 1, "cannot upgrade web: web-r2-", "-1 was not healthy after ",
        "then the rollback failed: cannot list containers: the disk under the daemon is tired", UNSEEN,
        "fix this; the next command on this service will finish the rollback",
    )  # fmt: skip
    assert "connection refused" in told
    assert (serving.get().revision, serving.journal() is not None) == ("r1", True)
    between.trouble = ()
    after = serving.upgrade("r3", check=True)
    assert "the upgrade of web to r2, which started at 20" in after.stderr
    assert ", was interrupted: rolling it back\n" in after.stderr
    nothing_left_behind(serving, "r3")


def test_the_error_names_the_address_of_another_daemon(serving: TestHost) -> None:
    port = serving.port("daemon")
    serving.define({"web": QUICK}, host_extra={"docker": f"tcp://127.0.0.1:{port}"})
    failed(
        serving.upgrade("r2", env={"DOCKER_HOST": os.environ.get("DOCKER_HOST", "")}), 1,
        f"cannot reach Docker at tcp://127.0.0.1:{port}: Docker is not running", UNSEEN,
    )  # fmt: skip
    nothing_left_behind(serving, "r1")
