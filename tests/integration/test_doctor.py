"""`conductor doctor` on the real parts: what it finds, that nothing else is found, and that it changes nothing."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.aftermath import QUICK
from tests.support.commands import Result
from tests.support.host import TestHost, merged

# A private host has no unit of supervise and no cron; Docker's settings and nginx's version are the machine's.
DOCUMENTED = {
    "supervise-down", "supervise-unit", "docker-disk", "state-disk", "image-room", "docker-live-restore", "nginx-idle-clients",
}  # fmt: skip


def examined(host: TestHost) -> tuple[Result, dict[str, list[dict[str, Any]]]]:
    """Run doctor; return its result, and its findings by check."""
    result = host.conductor("doctor", "--json")
    document = json.loads(result.stdout)
    assert (document["version"], document["skipped"]) == (1, 0)
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in document["findings"]:
        assert finding["what"]
        assert finding["why"]
        assert finding["fix"]
        found.setdefault(finding["check"], []).append(finding)
    severities = {finding["severity"] for finding in document["findings"]}
    assert result.code == (1 if "error" in severities else 4 if "warning" in severities else 0), str(result)
    return result, found


def unexpected(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return {check: findings for check, findings in found.items() if check not in DOCUMENTED}


def files(host: TestHost) -> dict[str, tuple[int, int]]:
    """Return the files of the host, with their sizes and times. Logs and what commands print are left out."""
    paths = (
        path
        for path in host.directory.rglob("*")
        if host.directory / "output" not in path.parents and path.suffix != ".log"
    )
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in paths if path.is_file()}


@pytest.fixture
def healthy(serving: TestHost) -> Iterator[TestHost]:
    """`web` r1 serves, and everything is installed."""
    serving.state_dir.chmod(0o700)
    serving.conductor("nginx", "install", check=True)
    yield serving
    serving.define({"web": QUICK})


def test_a_healthy_host_has_only_documented_warnings_and_nothing_is_changed(healthy: TestHost) -> None:
    before, containers = files(healthy), healthy.containers()
    result, found = examined(healthy)
    assert unexpected(found) == {}, str(result)
    assert result.code in {0, 4}
    text = healthy.conductor("doctor").stdout
    assert text.splitlines()[-1].startswith("0 errors, ")
    assert (files(healthy), healthy.containers()) == (before, containers)


def test_nginx_is_stopped_and_no_empty_pid_file_is_left(healthy: TestHost) -> None:
    healthy.nginx.stop()
    try:
        result, found = examined(healthy)
        assert set(unexpected(found)) == {"nginx-down"}, str(result)
        assert result.code == 1
        assert not healthy.nginx.pid_file.exists()
    finally:
        healthy.nginx.start()


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_somebody_broke_nginxs_configuration(healthy: TestHost, running: bool) -> None:
    if not running:
        healthy.nginx.stop()
    broken = healthy.nginx.add_server("broken", "server { listen nonsense; }\n")
    try:
        _, found = examined(healthy)
        (finding,) = found["nginx-configuration"]
        assert f"{broken}:1" in finding["what"]
    finally:
        broken.unlink()
        if not running:
            healthy.nginx.start()


def test_the_image_of_a_kept_release_is_gone(healthy: TestHost) -> None:
    healthy.upgrade("r2", check=True)
    path = healthy.state_dir / "services" / "web.json"
    before = path.read_text()
    wanted = json.loads(before)
    wanted["kept"][0]["image_id"] = f"sha256:{'0' * 64}"
    path.write_text(json.dumps(wanted))
    try:
        result, found = examined(healthy)
        assert [(one["service"], one["severity"]) for one in found["kept-image-missing"]] == [("web", "warning")]
        assert set(unexpected(found)) == {"kept-image-missing"}, str(result)
    finally:
        path.write_text(before)
        healthy.upgrade("r1", check=True)


def test_a_stray_container(healthy: TestHost) -> None:
    (ours,) = healthy.containers("web")
    name = f"{ours.name}-stray"
    labels = {**ours.labels, "conductor.name": name, "conductor.release": "other", "conductor.address": ""}
    words = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    image = healthy.daemon.api.inspect_container(ours.id)["Image"]
    command = ["docker", "--host", healthy.daemon.url, "run", "--detach", "--network", healthy.network, "--name", name]
    subprocess.run([*command, *words, image], check=True, capture_output=True)
    try:
        result, found = examined(healthy)
        assert set(unexpected(found)) == {"stray-container"}, str(result)
        (finding,) = found["stray-container"]
        assert name in finding["what"]
    finally:
        healthy.daemon.api.remove_container(name, force=True)


def test_a_pause(healthy: TestHost) -> None:
    healthy.conductor("supervise", "pause", "--id", "web", "--reason", "debugging", check=True)
    try:
        result, found = examined(healthy)
        assert [one["severity"] for one in found["paused"]] == ["info"]
        assert set(unexpected(found)) == {"paused"}, str(result)
    finally:
        healthy.conductor("supervise", "resume", "--id", "web", check=True)


def test_a_secret_that_others_read_and_one_that_is_missing(healthy: TestHost) -> None:
    secret = healthy.directory / "secret"
    secret.write_text("hunter2\n")
    secret.chmod(0o644)
    env = {"SECRET": {"file": str(secret)}, "OTHER": {"file": str(healthy.directory / "missing")}}
    healthy.define({"web": merged(QUICK, {"env": env})})
    result, found = examined(healthy)
    assert set(unexpected(found)) == {"service-file", "secret-mode", "drifted"}, str(result)
    assert "hunter2" not in result.stdout


def test_a_damaged_state_file_hides_nothing_else(healthy: TestHost) -> None:
    path = healthy.state_dir / "services" / "other.json"
    path.write_text("{")
    try:
        healthy.state_dir.chmod(0o755)
        result, found = examined(healthy)
        assert [(one["service"], str(path) in one["what"]) for one in found["damaged-state"]] == [("other", True)]
        assert set(unexpected(found)) == {"damaged-state", "file-mode"}, str(result)
    finally:
        path.unlink()
        healthy.state_dir.chmod(0o700)


def test_docker_is_away(healthy: TestHost) -> None:
    healthy.define({"web": QUICK}, host_extra={"docker": f"unix://{healthy.directory}/none.sock"})
    result = healthy.conductor("doctor", "--json")
    document = json.loads(result.stdout)
    errors = [one["check"] for one in document["findings"] if one["severity"] == "error"]
    assert (errors, result.code) == (["docker-unreachable"], 1)
    assert document["skipped"] > 5


def test_the_registrys_credentials_cannot_be_read(healthy: TestHost, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auths": "hunter2"')
    result = healthy.conductor("doctor", env={"DOCKER_CONFIG": str(tmp_path)})
    assert result.code == 1
    assert "registry-credentials" in result.stdout
    assert "hunter2" not in result.stdout
