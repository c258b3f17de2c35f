"""nginx's master is found however nginx was started, and wherever its pid file is named."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.definitions.host import Host, HostNginx
from conductor.definitions.load import restore
from conductor.definitions.scalars import Seconds
from conductor.plan.route import Cutover, Route
from conductor.state.locks import Locks
from conductor.traffic.nginx import Nginx
from conductor.traffic.port import TrafficRefused, TrafficUnavailable
from conductor.traffic.processes import is_master
from conductor.traffic.reload.reload import ReloadTraffic
from conductor.traffic.reload.reloader import ErrorLog
from conductor.traffic.status_server import StatusServer
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


def traffic(nginx: PrivateNginx, prefix: str | None = None) -> ReloadTraffic:
    directory = nginx.directory / "conductor"
    host = Host(
        state_dir=str(directory / "state"), runtime_dir=str(directory / "run"),
        nginx=HostNginx(
            include_dir=str(nginx.include_dir), config=str(nginx.config), binary=nginx.binary, announce=Seconds(0.1),
            prefix=prefix,
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
    "beside a log that exists only under -p": ("pid x.pid; error_log of-prefix/error.log;", ()),
    "a pid file that was removed": ("pid {dir}/removed.pid;", ()),
}


CASES = [
    pytest.param(
        *place, installed, id=f"{name}, {'with the status server' if installed else 'before the first install'}"
    )
    for name, place in PLACES.items()
    for installed in (True, False)
    if not (installed and "of-prefix" in place[0])  # the options of an nginx that does not run yet are unknown
]


@pytest.mark.parametrize(("line", "options", "installed"), CASES)
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
    Path(directory, "of-prefix").mkdir()
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


def test_the_prefix_of_the_definitions_is_used_before_nginx_runs(nginx: PrivateNginx) -> None:
    """The log exists only under the prefix, so nginx refuses the configuration without it."""
    directory = str(nginx.directory)
    text = nginx.config.read_text().replace("user www-data;", "user root;").replace(f"pid {directory}/nginx.pid;", "")
    nginx.config.write_text(f"pid x.pid; error_log of-prefix/error.log;\n{text}")
    Path(directory, "of-prefix").mkdir()
    with pytest.raises(TrafficRefused) as refused:
        traffic(nginx).install([], ())
    assert "of-prefix/error.log" in refused.value.sentence
    known = traffic(nginx, directory)
    assert known.install([], ()).wrote
    assert not Path(directory, "x.pid").exists()
    words = [nginx.binary, "-p", directory, "-c", str(nginx.config), "-g", "daemon off;"]
    process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *words])
    try:
        until = time.monotonic() + 10
        while not known.is_running():
            assert time.monotonic() < until
            time.sleep(0.02)
        known.switch([Route(restore("web", WEB), ("127.0.0.1:1",))], lambda _cutover: None)
        assert known.serving("web") == {"127.0.0.1:1"}
    finally:
        process.terminate()
        process.wait(10)


def test_a_pid_file_that_names_an_nginx_in_a_container_names_no_master(tmp_path: Path) -> None:
    """After a reboot, a pid file on a disk may name any process."""
    title = 'exec -a "nginx: master process nginx" sleep 60'
    with subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "bash", "-c", title]) as container:
        children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
        until = time.monotonic() + 10
        while not (pid := children.read_text().strip()) or not is_master(int(pid)):
            assert time.monotonic() < until
            time.sleep(0.02)
        (tmp_path / "nginx.pid").write_text(pid)
        nginx = Nginx(HostNginx(config=str(tmp_path / "nginx.conf")), StatusServer(tmp_path / "status.sock", tmp_path))
        try:
            with pytest.raises(TrafficUnavailable):
                nginx.master(f"pid {tmp_path / 'nginx.pid'};\n")
        finally:
            container.kill()


def test_the_errors_of_another_nginx_in_the_same_log_are_not_those_of_a_reload(nginx: PrivateNginx) -> None:
    """`nginx -t` writes to the error log that it was built with, or that is named with -e."""
    nginx.error_log.touch()
    log = ErrorLog(nginx.error_log, 1)
    broken = nginx.directory / "broken.conf"
    broken.write_text("lisen 80;\n")
    subprocess.run([nginx.binary, "-t", "-e", nginx.error_log, "-c", broken], capture_output=True, check=False)
    assert "[emerg]" in nginx.error_log.read_text()
    assert not log.reload_failed()
