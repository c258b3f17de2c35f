"""examples/prometheus/conductor-metrics on a real host, with a real node_exporter and a real Prometheus."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.claims import Claims
from tests.support.commands import ROOT
from tests.support.host import TestHost

METRICS = ROOT / "examples" / "prometheus" / "conductor-metrics"
RULES = METRICS.with_name("conductor.rules.yml")
WAIT_SECONDS = 30.0


def collect(host: TestHost, path: Path) -> subprocess.CompletedProcess[str]:
    """Run the script as its timer does, with the conductor under test in the PATH."""
    environment = host.environment({"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    return subprocess.run([METRICS, path], env=environment, capture_output=True, text=True, check=False)


def values(text: str) -> dict[str, float]:
    """Return the samples by name with labels."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.fixture(scope="module")
def host(images: None) -> Iterator[TestHost]:
    with TestHost() as made:
        cron = {"image": "conductor-test-app", "count": 0, "port": None, "health": None, "nginx": None,
                "cron": {"generate": ["echo", "1 1 1 1 * echo a"]}}  # fmt: skip
        made.define({"web": {"health": {"interval": "500ms"}}, "new": {}, "jobs": cron})
        made.upgrade("r1", "web", check=True)
        made.upgrade("r1", "jobs", check=True)
        yield made


def test_samples_of_deployed_and_undeployed_services(host: TestHost, tmp_path: Path) -> None:
    path = tmp_path / "conductor.prom"
    done = collect(host, path)
    assert done.returncode == 0, done.stderr
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=path.read_text(), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    found = values(path.read_text())
    assert found['conductor_service_info{service="web",revision="r1"}'] == 1
    assert [found[f'conductor_service_{name}{{service="web"}}'] for name in ("wanted", "running", "healthy")] == [
        2,
        2,
        2,
    ]
    assert 'conductor_service_info{service="new"' not in path.read_text()
    assert found["conductor_supervise_up"] == 0
    assert found["conductor_status_success"] == 1
    jobs = {name.partition("{")[0] for name in found if 'service="jobs"' in name and name.startswith("conductor_job")}
    assert jobs == {"conductor_job_lost", "conductor_job_skipped"}, "no sample of a last run before the first run"
    assert (path.stat().st_mode & 0o777, [p.name for p in tmp_path.iterdir()]) == (0o644, ["conductor.prom"])


def test_scale_stop_and_supervise_change_samples(host: TestHost, tmp_path: Path) -> None:
    path = tmp_path / "conductor.prom"
    supervise = host.spawn("supervise")
    host.wait_for((host.runtime_dir / "supervise.json").exists, "the first pass of supervise")
    host.conductor("service", "scale", "--id", "web", "--count", "1", "--wait", "10s", check=True)
    host.conductor("service", "stop", "--id", "web", "--wait", "10s", check=True)
    try:
        assert collect(host, path).returncode == 0
        found = values(path.read_text())
    finally:
        supervise.end()
        host.conductor("service", "start", "--id", "web", "--wait", "10s", check=True)
        host.conductor("service", "scale", "--id", "web", "--reset", check=True)
    states = [
        found[f'conductor_service_{name}{{service="web"}}'] for name in ("stopped", "scaled", "wanted", "running")
    ]
    assert (found["conductor_supervise_up"], states) == (1, [1, 1, 0, 0])


def test_a_failed_command_is_a_sample_and_exit_code_1(host: TestHost, tmp_path: Path) -> None:
    path = tmp_path / "conductor.prom"
    config = host.config.read_text()
    host.define_raw("services: [")
    try:
        done = collect(host, path)
    finally:
        host.define_raw(config)
    assert (done.returncode, values(path.read_text())) == (1, {"conductor_status_success": 0})
    assert "conductor service status --json: exit code 2" in done.stderr


def test_the_rules_detect_a_service_that_is_down(host: TestHost, tmp_path: Path) -> None:
    """The alert becomes pending only if the rules match the labels of the exported samples."""
    path = tmp_path / "text" / "conductor.prom"
    path.parent.mkdir()
    with contextlib.ExitStack() as stack:
        claims = Claims()
        stack.callback(claims.release)
        exporter, prometheus = claims.port(), claims.port()
        stack.enter_context(running(
            "prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
            f"--collector.textfile.directory={path.parent}", f"--web.listen-address=127.0.0.1:{exporter}",
        ))  # fmt: skip
        config = tmp_path / "prometheus.yml"
        config.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]}],
        }))  # fmt: skip
        stack.enter_context(running(
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/tsdb",
            f"--web.listen-address=127.0.0.1:{prometheus}", "--log.level=error",
        ))  # fmt: skip
        assert collect(host, path).returncode == 0
        wait_for(prometheus, "conductor_service_healthy", {"new": "0", "web": "2", "jobs": "0"})
        alerts = query(prometheus, 'ALERTS{alertname=~"ConductorService.*"}')
        assert alerts == [], "a healthy and an undeployed service raise no alert"
        host.daemon.remove_all()
        assert collect(host, path).returncode == 0
        wait_for(prometheus, 'ALERTS{alertname="ConductorServiceDown", alertstate="pending"}', {"web": "1"})
    host.conductor("service", "start", "--id", "web", check=True)


@contextlib.contextmanager
def running(*words: str) -> Iterator[None]:
    """Run a server for as long as the block lasts."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def query(port: int, expression: str) -> list[dict[str, Any]]:
    """Return Prometheus's result; nothing while it does not respond."""
    url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(expression)}"
    with contextlib.suppress(OSError), urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found
    return []


def wait_for(port: int, expression: str, expected: dict[str, str]) -> None:
    """Wait until the expression has these values, by service."""
    until = time.monotonic() + WAIT_SECONDS
    while (found := {one["metric"]["service"]: one["value"][1] for one in query(port, expression)}) != expected:
        assert time.monotonic() < until, f"{expression}: {found}, not {expected}"
        time.sleep(0.2)
