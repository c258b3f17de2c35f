"""nginx's master is found however nginx was started, and wherever its pid file is named."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.definitions.load import restore
from conductor.definitions.model import Host, HostNginx
from conductor.definitions.scalars import Seconds
from conductor.plan.route import Cutover, Route
from conductor.state.locks import Locks
from conductor.traffic.reload.reload import ReloadTraffic
from tests.support.claims import Claims
from tests.support.nginx import PrivateNginx

WEB = {"image": "shop", "port": 80, "health": {"path": "/"}, "nginx": {}}


@pytest.fixture
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateNginx]:
    claims = Claims()
    made = PrivateNginx(tmp_path_factory.mktemp("nginx"), claims)
    yield made
    made.stop()
    claims.release()


def traffic(nginx: PrivateNginx) -> ReloadTraffic:
    directory = nginx.directory / "conductor"
    host = Host(
        state_dir=str(directory / "state"), runtime_dir=str(directory / "run"),
        nginx=HostNginx(
            include_dir=str(nginx.include_dir), config=str(nginx.config), binary=nginx.binary, announce=Seconds(0.1)
        ),
    )  # fmt: skip
    clock, cancellation = Clock(), SignalCancellation()
    return ReloadTraffic(host, Locks(directory / "locks", "test", clock, cancellation), clock, cancellation)


PLACES = {
    "behind another directive": ("worker_processes 1; pid {dir}/x.pid;", ()),
    "quoted and over lines": ('pid\n  "{dir}/x.pid"\n;', ()),
    "in an included file": ("include {dir}/modules-enabled/*.conf;", ()),
    "by -g": ("", ("-g", "daemon off; pid {dir}/x.pid;")),
    "relative to -p": ("pid x.pid;", ()),
    "a pid file that was removed": ("pid {dir}/removed.pid;", ()),
}


@pytest.mark.parametrize("installed", [True, False], ids=["with the status server", "before the first install"])
@pytest.mark.parametrize(("line", "options"), PLACES.values(), ids=PLACES)
def test_the_master_is_found(nginx: PrivateNginx, line: str, options: tuple[str, ...], installed: bool) -> None:
    directory = str(nginx.directory)
    text = nginx.config.read_text().replace("user www-data;", "user root;")  # pytest's directories are root's
    for old in (
        f"pid {directory}/nginx.pid;\n",
        f"include {directory}/modules-enabled/*.conf;\n",
        "worker_processes 2;",
    ):
        assert old in text
        text = text.replace(old, "")
    nginx.config.write_text(line.replace("{dir}", directory) + "\n" + text)
    (nginx.modules_dir / "pid.conf").write_text(f"pid {directory}/x.pid;")
    if installed:
        traffic(nginx).install([], ())
    words = [nginx.binary, "-e", str(nginx.error_log), "-p", directory, "-c", str(nginx.config)]
    words += [option.replace("{dir}", directory) for option in options] or ["-g", "daemon off;"]
    process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *words])
    try:
        until = time.monotonic() + 10
        while not (found := list(Path(directory).glob("*.pid"))) or not found[0].read_text():
            assert time.monotonic() < until
            time.sleep(0.02)
        Path(directory, "removed.pid").unlink(missing_ok=True)
        recorded: list[Cutover] = []
        if not installed:
            traffic(nginx).install([], ())
        traffic(nginx).switch([Route(restore("web", WEB), ("127.0.0.1:1",))], recorded.append)
        assert traffic(nginx).serving("web") == {"127.0.0.1:1"}
        assert len(recorded) == 2
    finally:
        process.terminate()
        process.wait(10)
