"""nginx itself: its version, its pid file, its master and its error log."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.definitions.host import HostNginx
from conductor.errors import ConductorError
from conductor.plan.route import TrafficState
from conductor.traffic.nginx import Nginx
from conductor.traffic.port import TrafficUnavailable
from conductor.traffic.status_server import StatusServer


@pytest.fixture
def nginx(tmp_path: Path) -> Nginx:
    return Nginx(HostNginx(binary="/bin/true"), StatusServer(tmp_path / "status.sock", tmp_path))


def program(directory: Path, script: str) -> Path:
    """Write a shell script as nginx's binary."""
    path = directory / "nginx"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("nginx version: nginx/1.22.1", "1.22.1"),
        ("nginx version: nginx/1.27.4 (Ubuntu)", "1.27.4"),
        ("openresty", None),
    ],
)
def test_the_version(tmp_path: Path, printed: str, version: str | None) -> None:
    binary = program(tmp_path, f"echo '{printed}' >&2")
    nginx = Nginx(HostNginx(binary=str(binary)), StatusServer(tmp_path / "status.sock", tmp_path))
    if version is not None:
        assert nginx.version() == version
    else:
        with pytest.raises(ConductorError):
            nginx.version()


def test_a_binary_that_is_not_installed_has_no_version(tmp_path: Path) -> None:
    with pytest.raises(ConductorError) as caught:
        Nginx(HostNginx(binary="/nonexistent"), StatusServer(tmp_path / "status.sock", tmp_path)).version()
    assert caught.value.hint


def test_a_binary_that_cannot_be_run_is_an_error_with_its_cause_alone(tmp_path: Path) -> None:
    binary = program(tmp_path, "")
    binary.chmod(0o644)
    with pytest.raises(ConductorError) as raised:
        Nginx(HostNginx(binary=str(binary)), StatusServer(tmp_path / "status.sock", tmp_path)).version()
    assert raised.value.sentence == f"cannot run {binary} -V: Permission denied"


@pytest.mark.parametrize(
    "pid",
    [None, "", "text", "\udcff\udcfe", "²", str(os.getpid()), str(2**22 + 1)],
    ids=["none", "empty", "text", "not UTF-8", "a digit that is no number", "another program", "no process"],
)
def test_a_pid_file_that_names_no_master_means_that_nginx_does_not_run(
    nginx: Nginx, tmp_path: Path, pid: str | None
) -> None:
    path = tmp_path / "nginx.pid"
    if pid is not None:
        path.write_text(pid, errors="surrogateescape")
    with pytest.raises(TrafficUnavailable) as unavailable:
        nginx.master(f"user www-data;\npid {path};\n")
    assert str(path) in unavailable.value.sentence
    assert path.exists() is bool(pid), "an empty file breaks later reloads, and is removed"


@pytest.mark.parametrize(
    ("installed", "state", "hint"),
    [
        (True, TrafficState.DOWN, "systemctl start nginx"),
        (False, TrafficState.FILES_MISSING, "conductor nginx install && systemctl start nginx"),
    ],
)
def test_without_conductors_files_nginx_must_not_be_started_first(
    tmp_path: Path, installed: bool, state: TrafficState, hint: str
) -> None:
    nginx = Nginx(
        HostNginx(binary="/bin/true", include_dir=str(tmp_path)), StatusServer(tmp_path / "status.sock", tmp_path)
    )
    if installed:
        (tmp_path / "server.inc").touch()
    assert nginx.down_state() is state
    with pytest.raises(TrafficUnavailable) as unavailable:
        nginx.master(f"pid {tmp_path}/nginx.pid;")
    assert unavailable.value.hint == hint


def test_a_status_server_without_a_pid_file_is_an_error_and_not_a_stopped_nginx(
    nginx: Nginx, tmp_path: Path, answers: dict[str, str]
) -> None:
    with pytest.raises(ConductorError) as failed:
        nginx.master(f"pid {tmp_path / 'nginx.pid'};\n")
    assert not isinstance(failed.value, TrafficUnavailable)
    assert str(tmp_path / "nginx.pid") in failed.value.sentence


@contextlib.contextmanager
def titled(options: str) -> Iterator[tuple[int, int]]:
    """Yield the pids of a process with the title of a master that was started with these options, and of its child."""
    script = """exec -a "nginx: master process nginx $0" sh -c 'sleep 300 & echo $!; wait'"""
    with subprocess.Popen(["bash", "-c", script, options], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "line", ["worker_processes 2; pid {};", 'pid\n"{}"\n;', "events {{ }} pid {}; http {{ pid /x; }}"]
)
def test_the_master_is_found_by_its_pid_file_wherever_that_is_named(nginx: Nginx, tmp_path: Path, line: str) -> None:
    path = tmp_path / "nginx.pid"
    with titled("-c /of/another/nginx.conf") as (master, _):
        path.write_text(f"{master}\n")
        assert nginx.master(line.format(path)) == master


def test_the_master_is_found_by_the_worker_that_answers(nginx: Nginx, tmp_path: Path, answers: dict[str, str]) -> None:
    with titled("-c /of/another/nginx.conf") as (master, worker):
        answers["/generation"] = f"0123456789abcdef {worker}"
        assert nginx.master(f"pid {tmp_path / 'absent.pid'};") == master


@contextlib.contextmanager
def master_of(config: Path) -> Iterator[None]:
    """Run a process with the title of a master."""
    title = f"nginx: master process nginx -c {config} -e"  # the argument of sleep follows
    with subprocess.Popen(["bash", "-c", 'exec -a "$0" sleep 300', title]) as process:
        try:
            while not Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"nginx"):
                pass
            yield
        finally:
            process.kill()


def test_a_master_that_does_not_answer_is_running(tmp_path: Path) -> None:
    """It has not loaded Conductor's files. One with another configuration is another nginx. Two may run for a moment."""
    nginx = Nginx(
        HostNginx(config=str(tmp_path / "nginx.conf"), binary=shutil.which("true")),
        StatusServer(tmp_path / "status.sock", tmp_path),
    )
    assert not nginx.has_master()
    with master_of(tmp_path / "other.conf"):
        assert not nginx.has_master()
    with master_of(tmp_path / "nginx.conf"):
        assert nginx.has_master()
        with master_of(tmp_path / "nginx.conf"):
            assert nginx.has_master()
    assert not Nginx(HostNginx(binary="/nonexistent"), StatusServer(tmp_path / "status.sock", tmp_path)).has_master()


def test_an_error_log_of_the_option_g_comes_first(nginx: Nginx) -> None:
    with titled("-c /x.conf -g error_log /of/g.log; -p /") as (master, _):
        assert nginx.error_log("error_log /of/the/file.log;", master) == Path("/of/g.log")


PREFIXED = "echo 'configure arguments: --prefix=/built/in --pid-path=run/x.pid' >&2"


@pytest.mark.parametrize(
    ("prefix", "line", "path"),
    [
        ("/srv/nginx", "pid x.pid;", "/srv/nginx/x.pid"),
        ("/srv/nginx", "pid /run/x.pid;", "/run/x.pid"),
        ("/srv/nginx", "", "/srv/nginx/run/x.pid"),
        (None, "pid x.pid;", "/built/in/x.pid"),
        (None, "", "/built/in/run/x.pid"),
    ],
)
def test_relative_paths_are_under_the_prefix(tmp_path: Path, prefix: str | None, line: str, path: str) -> None:
    binary = program(tmp_path, PREFIXED)
    nginx = Nginx(HostNginx(binary=str(binary), prefix=prefix), StatusServer(tmp_path / "status.sock", tmp_path))
    with pytest.raises(TrafficUnavailable) as unavailable:
        nginx.master(line)
    assert (
        unavailable.value.sentence == f"nginx is not running: {path} does not contain the pid of a running nginx master"
    )
    assert nginx.error_log("error_log logs/e.log;") == Path(prefix or "/built/in", "logs/e.log")


@pytest.mark.parametrize("prefix", ["/srv/nginx", None])
def test_the_prefix_of_the_definitions_comes_before_that_of_the_running_nginx(
    tmp_path: Path, prefix: str | None, answers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check runs in a mount namespace, which needs root: here, a program in its place prints its words."""
    unshare = program(tmp_path, 'echo "$@"')
    unshare.rename(tmp_path / "unshare")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    nginx = Nginx(
        HostNginx(binary=str(program(tmp_path, "")), prefix=prefix), StatusServer(tmp_path / "status.sock", tmp_path)
    )
    with titled("-p /of/the/master") as (_, worker):
        answers["/generation"] = f"0123456789abcdef {worker}"
        words = nginx.check({}).dump
    assert words.endswith(f" -p {prefix or '/of/the/master'}\n")


def closes_one_connection(server: socket.socket) -> None:
    client, _ = server.accept()
    client.close()


def test_sockets_of_a_killed_nginx_are_removed_and_used_ones_stay(nginx: Nginx, tmp_path: Path) -> None:
    left, used = tmp_path / "web.maintenance.sock", tmp_path / "status.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(left))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(used))
        server.listen()
        server.settimeout(5)
        thread = threading.Thread(target=closes_one_connection, args=[server])
        thread.start()
        with pytest.raises(TrafficUnavailable):
            nginx.master(f"pid {tmp_path / 'nginx.pid'};\n")
        thread.join()
    assert (left.exists(), used.exists()) == (False, True)


@pytest.mark.parametrize(
    ("dump", "path"),
    [
        ("error_log /var/log/nginx/x.log notice;\nerror_log /other;\n", "/var/log/nginx/x.log"),
        ('worker_processes 2; error_log "/var/log/x.log";\n', "/var/log/x.log"),
        ("error_log stderr;\nerror_log /y.log;\n", "/y.log"),
        ("error_log syslog:server=unix:/dev/log;\nerror_log memory:32m;\nerror_log /y.log;\n", "/y.log"),
        ("http { error_log /of/requests.log; }\nerror_log logs/error.log;", "/usr/share/nginx/logs/error.log"),
    ],
)
def test_the_error_log_is_the_first_file_of_the_main_context(nginx: Nginx, dump: str, path: str) -> None:
    assert nginx.error_log(dump) == Path(path)


def test_a_missing_binary_is_an_error_with_its_name(tmp_path: Path) -> None:
    absent = Nginx(HostNginx(binary=str(tmp_path / "nginx")), StatusServer(tmp_path / "status.sock", tmp_path))
    with pytest.raises(ConductorError) as failed:
        absent.check({})
    assert str(tmp_path / "nginx") in failed.value.sentence


def test_a_master_that_has_exited_cannot_be_signalled() -> None:
    with pytest.raises(ConductorError):
        Nginx.reload(2**22 + 1)


def test_a_socket_that_accepts_no_connection_does_not_block(nginx: Nginx, tmp_path: Path) -> None:
    """As that of a stopped nginx with a full queue."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server, socket.socket(socket.AF_UNIX) as queued:
        server.bind(str(tmp_path / "unavailable.sock"))
        server.listen(0)
        queued.connect(str(tmp_path / "unavailable.sock"))

        def find() -> None:
            with contextlib.suppress(TrafficUnavailable):
                nginx.master(f"pid {tmp_path / 'nginx.pid'};\n")

        thread = threading.Thread(target=find, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    assert (tmp_path / "unavailable.sock").exists()
