"""examples/prometheus/conductor-metrics on a fake conductor that prints recorded documents."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

METRICS = Path(__file__).resolve().parents[3] / "examples" / "prometheus" / "conductor-metrics"
ROW = {"service": "web", "revision": "r1", "wanted": 3, "running": 2, "healthy": 1, "condition": "unhealthy",
       "stopped": None, "scale": None}  # fmt: skip
JOB = {"service": "jobs", "job": "1a2b", "schedule": "1 1 * * *", "skipped": 2, "state": "done",
       "began": "2026-11-29T02:00:00.000Z", "exit_code": 3, "seconds": 1.5}  # fmt: skip
UP = {"pid": 1}
LABELS = 'service="jobs",job="1a2b",schedule="1 1 * * *"'


def metrics(directory: Path, *, status: Any, jobs: Any = (), supervise: Any = UP) -> tuple[int, dict[str, float], str]:
    """Exit code, samples by name with labels, and standard error."""
    cron = None if jobs is None else {"version": 1, "jobs": jobs}
    documents = {"service": {"version": 1, "services": status}, "cron": cron, "supervise": supervise}
    for name, document in documents.items():
        (directory / name).write_text(json.dumps(document))
    fake = directory / "conductor"
    fake.write_text(f'#!/bin/sh\ncat "{directory}/$1"\n[ "$(cat "{directory}/$1")" != null ]\n')
    fake.chmod(0o755)
    path = directory / "conductor.prom"
    environment = {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}
    done = subprocess.run([METRICS, path], env=environment, capture_output=True, text=True, check=False)
    lines = [line.rpartition(" ") for line in path.read_text().splitlines() if not line.startswith("#")]
    return done.returncode, {name: float(value) for name, _, value in lines}, done.stderr


def test_fields_become_samples(tmp_path: Path) -> None:
    assert metrics(tmp_path, status=[ROW], jobs=[JOB]) == (
        0,
        {
            "conductor_status_success": 1,
            "conductor_supervise_up": 1,
            'conductor_service_info{service="web",revision="r1"}': 1,
            'conductor_service_wanted{service="web"}': 3,
            'conductor_service_running{service="web"}': 2,
            'conductor_service_healthy{service="web"}': 1,
            'conductor_service_broken{service="web"}': 0,
            'conductor_service_stopped{service="web"}': 0,
            'conductor_service_scaled{service="web"}': 0,
            f"conductor_job_last_start_seconds{{{LABELS}}}": 1795917600,
            f"conductor_job_last_seconds{{{LABELS}}}": 1.5,
            f"conductor_job_last_exit_code{{{LABELS}}}": 3,
            f"conductor_job_lost{{{LABELS}}}": 0,
            f"conductor_job_skipped{{{LABELS}}}": 2,
        },
        "",
    )


@pytest.mark.parametrize(
    ("fields", "sample", "value"),
    [
        ({"condition": "damaged-state"}, "conductor_service_broken", 1),
        ({"condition": "invalid-definition"}, "conductor_service_broken", 1),
        ({"condition": "never-deployed"}, "conductor_service_broken", 0),
        ({"stopped": {"by": "ops", "reason": ""}}, "conductor_service_stopped", 1),
        ({"scale": 0}, "conductor_service_scaled", 1),
        ({"revision": None}, "conductor_service_info", None),
    ],
)
def test_conditions(tmp_path: Path, fields: dict[str, Any], sample: str, value: float | None) -> None:
    _, samples, _ = metrics(tmp_path, status=[ROW | fields])
    assert samples.get(f'{sample}{{service="web"}}') == value


def test_supervise_is_down(tmp_path: Path) -> None:
    code, samples, _ = metrics(tmp_path, status=[], supervise=None)
    assert (code, samples) == (0, {"conductor_supervise_up": 0, "conductor_status_success": 1})


@pytest.mark.parametrize(
    ("status", "jobs", "cause"),
    [([], None, "conductor cron list --json: exit code 1"), ([{"service": "web"}], [], "KeyError('revision')")],
    ids=["failed command", "unknown document"],
)
def test_a_failure_is_a_sample_and_exit_code_1(tmp_path: Path, status: Any, jobs: Any, cause: str) -> None:
    code, samples, error = metrics(tmp_path, status=status, jobs=jobs)
    assert (code, samples) == (1, {"conductor_status_success": 0})
    assert cause in error
