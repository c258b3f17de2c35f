"""The runtime of queries: two calls over Conductor's own HTTP client, everything else by the SDK."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.plan.release import Image
from conductor.runtime.docker.client import DockerRuntime
from conductor.runtime.docker.queries import QueryRuntime
from conductor.runtime.port import RuntimeUnavailable
from tests.fakes.runtime import FakeCancellation
from tests.unit.runtime.docker.test_attach import daemon, response

SLOW = {"docker", "jinja2", "shutil", "tempfile", "conductor.cron.table"}
ROW = {
    "Id": "c1", "Names": ["/web-1"], "State": "running", "Created": 7, "ImageID": "sha256:1",
    "Labels": {"conductor.service": "web", "conductor.kind": "service", "conductor.address": "10.0.0.2:80"},
}  # fmt: skip


def runtime(path: Path) -> QueryRuntime:
    return QueryRuntime(f"unix://{path}", "default", Clock(), FakeCancellation())


def test_containers_and_an_image(tmp_path: Path) -> None:
    image = {"Id": "sha256:1", "RepoDigests": ["shop@sha256:2"], "Size": 5}
    answers = (response(200, json.dumps([ROW])), response(200, json.dumps(image)), response(404, '{"message": "no"}'))
    with daemon(tmp_path / "d", *answers) as requests:
        queries = runtime(tmp_path / "d")
        (replica,) = queries.containers("web").replicas
        assert queries.image("shop:r1") == Image("sha256:1", "shop@sha256:2", (), 5)
        assert queries.image("shop:r2") is None
    assert (replica.id, replica.endpoint, replica.image_id) == ("c1", "10.0.0.2:80", "sha256:1")
    paths = [request.split(b" ")[1] for request in requests]
    assert b"conductor.instance%3Ddefault%22%2C%20%22conductor.service%3Dweb" in paths[0]
    assert paths[1] == b"/v1.41/images/shop%3Ar1/json"


def test_an_error_of_the_daemon_is_not_a_missing_image(tmp_path: Path) -> None:
    failed = response(500, '{"message": "a full disk"}')
    with daemon(tmp_path / "d", failed), pytest.raises(ConductorError, match="inspect image shop:r1: a full disk"):
        runtime(tmp_path / "d").image("shop:r1")
    with pytest.raises(RuntimeUnavailable, match="Docker is not running"):
        runtime(tmp_path / "none").containers()


def test_other_calls_are_made_by_the_sdk(tmp_path: Path) -> None:
    queries = runtime(tmp_path / "none")
    assert isinstance(queries.execute.__self__, DockerRuntime)
    with pytest.raises(AttributeError):
        _ = queries.nothing


def test_usage_is_only_known_of_containers_on_this_host() -> None:
    assert QueryRuntime("tcp://10.0.0.1:2375", "default", Clock(), FakeCancellation()).usage("c1") is None


def test_a_query_imports_neither_the_sdk_nor_other_slow_modules(tmp_path: Path) -> None:
    config = tmp_path / "services.yml"
    config.write_text(
        f"version: 1\nhost: {{state_dir: {tmp_path}, runtime_dir: {tmp_path}, docker: 'unix://{tmp_path}/d'}}\n"
        "services: {web: {image: x, count: 0}}\n"
    )
    code = (
        "import sys; from conductor.cli import run; code = run(sys.argv[1:])\n"
        f"sys.exit(code or ' '.join({SLOW} & set(sys.modules)) or 0)"
    )
    for command in ("list", "status"):
        with daemon(tmp_path / "d", response(200, json.dumps([ROW]))):
            words = [sys.executable, "-c", code, "service", command, "--config", str(config)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "web" in done.stdout
        (tmp_path / "d").unlink()
