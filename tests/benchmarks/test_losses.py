"""Lost requests per upgrade by class of client, by Conductor and by its peers, with an abrupt and with a graceful app.

Each upgrade has 50 clients of each class, an upload, and 5 websockets. The upload and the websockets begin before the
upgrade and end a second after the first answer of the new revision. What is not installed is skipped by name.
"""

import contextlib
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.figures import Figures
from tests.benchmarks.peers import conductor, docker_compose, kamal_proxy, nginx_by_hand, wait_for_revision
from tests.benchmarks.swarm import swarm
from tests.support.images import REVISIONS
from tests.support.load import Load, SlowUpload
from tests.support.websocket import WebSocket

CLASSES: dict[str, dict[str, Any]] = {"busy": {"busy": 50, "idle": 0}} | {
    f"idle {seconds:g} s": {"busy": 0, "idle": 50, "idle_seconds": seconds} for seconds in (0.1, 1.0, 2.0)
}
UPGRADES, WEBSOCKETS = 10, 5
UPLOAD_SECONDS = 3.0  # until an upload that is not answered counts as lost
AFTER_SECONDS = 1.0  # how long the upload and the websockets last after the cutover
STEADY_SECONDS = 2.0  # before each upgrade, so that each idle client has a connection
WAYS = {
    "conductor, live": conductor("live", "500ms"),
    "conductor, reload, announce 0.5 s": conductor("reload", "500ms"),
    "conductor, reload, announce 2 s": conductor("reload", "2s"),
    "nginx -s reload, then stop": nginx_by_hand(waits=False),
    "nginx -s reload, wait for workers, then stop": nginx_by_hand(waits=True),
    "docker-compose up -d": docker_compose,
    "Swarm, start-first": swarm,
}
PROMISED = {"conductor, live": tuple(CLASSES), "conductor, reload, announce 0.5 s": ("busy", "idle 0.1 s")}


@pytest.fixture(params=[*WAYS, "kamal-proxy"])
def way(request: pytest.FixtureRequest) -> str:
    """The name of a way."""
    return str(request.param)


@pytest.mark.parametrize("app", ["abrupt", "graceful"])
def test_lost_requests(
    images: None, figures: Figures, request: pytest.FixtureRequest, tmp_path: Path, way: str, app: str
) -> None:
    binary = request.config.getoption("--kamal-proxy", default=None)
    if way == "kamal-proxy" and not binary:
        pytest.skip("kamal-proxy: no binary was given with --kamal-proxy PATH")
    if way == "docker-compose up -d" and not shutil.which("docker-compose"):
        pytest.skip("docker-compose: not installed")
    upgrades = figures.number(UPGRADES, 0)
    run = kamal_proxy(Path(binary)) if way == "kamal-proxy" else WAYS[way]
    revisions = list(islice(cycle(REVISIONS), 1, upgrades + 1))
    odd = {"uploads": 0, "websockets": 0}
    files = {name: tmp_path / name for name in CLASSES}
    before: list[float] = []  # the middle of the second before each upgrade
    cutovers: list[float] = []
    with run(app == "graceful") as peer, contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        peer.upgrade("r1")
        wait_for_revision(peer.url, "r1")
        loads = {
            name: stack.enter_context(Load(peer.url, **clients, latencies=files[name]))
            for name, clients in CLASSES.items()
        }
        for revision in revisions:
            time.sleep(STEADY_SECONDS)
            before.append(time.time() - 0.5)
            upload = SlowUpload(f"{peer.url}upload")
            sockets = [WebSocket(peer.url) for _ in range(WEBSOCKETS)]
            upgrade = pool.submit(peer.upgrade, revision)
            wait_for_revision(peer.url, revision)
            cutovers.append(time.time())
            time.sleep(AFTER_SECONDS)
            odd["websockets"] += sum(one.echo(b"still here?") != b"still here?" for one in sockets)
            for one in sockets:
                one.close()
            odd["uploads"] += not answered(upload)
            upgrade.result()
        time.sleep(STEADY_SECONDS)
        results = {name: load.stop() for name, load in loads.items()}
    for name, result in results.items():
        print(f"{name}: {result}")
    lost = {name: round(result.lost / upgrades, 2) for name, result in results.items()}
    figures.report(
        f"lost requests, {way}, {app} app",
        upgrades=upgrades,
        lost_per_upgrade={**lost, **{name: round(count / upgrades, 2) for name, count in odd.items()}},
        requests={name: result.total for name, result in results.items()},
        losses={name: result.losses for name, result in results.items()},
        latency_ms={
            name: {"steady": latency_ms(file, before), "around cutovers": latency_ms(file, cutovers)}
            for name, file in files.items()
        },
    )
    for name in PROMISED.get(way, ()):
        assert results[name].lost == 0, f"{name}: {results[name]}\n{results[name].told[:10]}"


def answered(upload: SlowUpload) -> bool:
    """Send the rest of an upload; return whether it was answered by 2xx."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        return 200 <= upload.result(UPLOAD_SECONDS).status < 300
    return False


def latency_ms(file: Path, moments: list[float]) -> dict[str, float]:
    """Return the percentiles of the answers within half a second of these moments."""
    answers = [tuple(map(float, line.split())) for line in file.read_text().splitlines()]
    near = sorted(seconds for at, seconds in answers if any(abs(at - moment) <= 0.5 for moment in moments))
    if not near:
        return {}
    found = {"p50": near[len(near) // 2], "p99": near[int(len(near) * 0.99)], "max": near[-1]}
    return {name: round(seconds * 1000, 1) for name, seconds in found.items()}
