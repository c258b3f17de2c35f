"""A private nginx on 127.0.0.1, with everything it touches in one directory, beside the host's own."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from tests.support.claims import Claims

BINARY = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or "/usr/sbin/nginx"
WORKERS = 2
START_SECONDS = 5.0
STOP_SECONDS = 5.0

LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")  # in the order in which nginx must load them

CONFIG = """\
{user}worker_processes {workers};
worker_rlimit_nofile 8192;
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
include {dir}/modules-enabled/*.conf;
events {{ worker_connections 4096; }}
http {{
    access_log {access_log};
    client_body_temp_path {dir}/temp/body;
    proxy_temp_path {dir}/temp/proxy;
    fastcgi_temp_path {dir}/temp/fastcgi;
    uwsgi_temp_path {dir}/temp/uwsgi;
    scgi_temp_path {dir}/temp/scgi;
    include {dir}/conductor.d/*.conf;
    include {dir}/servers.d/*.conf;
    server {{ listen 127.0.0.1:{port}; location = /up {{ return 204; }} location = /stub_status {{ stub_status; }} }}
}}
"""


class PrivateNginx:
    """One master and two workers, started by `start` and known by the pid that it had then.

    `include_dir` is what Conductor fills, `servers_dir` is the operator's own; both are included inside `http {}`.
    `modules_dir` is included in the main context. As root the workers run as www-data, as on a real host.
    """

    def __init__(self, directory: Path, claims: Claims, *, access_log: bool = False) -> None:
        self.directory = directory
        self.config = directory / "nginx.conf"
        self.pid_file = directory / "nginx.pid"
        self.error_log = directory / "error.log"
        self.include_dir = directory / "conductor.d"
        self.servers_dir = directory / "servers.d"
        self.modules_dir = directory / "modules-enabled"
        self.binary = BINARY
        self.own_port = claims.port()  # answers /up, whatever else is configured
        self._process: subprocess.Popen[bytes] | None = None
        for path in (self.include_dir, self.servers_dir, self.modules_dir, directory / "temp"):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o755)  # workers are another user
        directory.chmod(0o755)
        user = "user www-data;\n" if os.geteuid() == 0 else ""
        log = f"{directory}/access.log" if access_log else "off"
        self.config.write_text(
            CONFIG.format(user=user, workers=WORKERS, dir=directory, port=self.own_port, access_log=log)
        )

    @property
    def pid(self) -> int:
        """The master's; an error when it does not run."""
        if self._process is None:
            raise RuntimeError("the private nginx was not started")
        return self._process.pid

    def running(self) -> bool:
        """The process that `start` began is alive."""
        return self._process is not None and self._process.poll() is None

    def workers(self) -> set[int]:
        """Pids of the master's children, old workers too."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
            return {int(word) for word in children.split()}
        return set()

    def add_server(self, name: str, text: str) -> Path:
        """The operator's own server blocks, as a file beside Conductor's; takes effect with the next start or reload."""
        path = self.servers_dir / f"{name}.conf"
        path.write_text(text)
        path.chmod(0o644)
        return path

    def load_lua(self) -> None:
        """Load the Lua module, as Debian's package does; takes effect with the next start or reload."""
        lines = [f"load_module /usr/lib/nginx/modules/{name};\n" for name in LUA_MODULES]
        (self.modules_dir / "50-mod-http-lua.conf").write_text("".join(lines))

    def test(self) -> subprocess.CompletedProcess[str]:
        """`nginx -t` of what is on disk."""
        words = [
            self.binary,
            "-t",
            "-e",
            str(self.error_log),
            "-p",
            str(self.directory),
            "-c",
            str(self.config),
        ]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def start(self) -> None:
        """Start it and wait until it answers with all its workers. It stays in the foreground of a session of its own, so
        it has no way to outlive `stop` unseen."""
        if self.running():
            raise RuntimeError("the private nginx runs already")
        words = [self.binary, "-e", str(self.error_log), "-p", str(self.directory), "-c", str(self.config)]
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *words, "-g", "daemon off;"],  # ends with a killed test run
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + START_SECONDS
        while not (self._answers() and len(self.workers()) >= WORKERS):
            if not self.running() or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"cannot start the private nginx: {self.test().stderr}{self.log_tail()}")
            time.sleep(0.01)

    def reload(self) -> None:
        """Ask the master to reload, as an operator's own tool would; does not wait."""
        os.kill(self.pid, signal.SIGHUP)

    def stop(self) -> None:
        """Fast shutdown, then whatever of its session is left is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # workers share the master's session and group
        process.wait(STOP_SECONDS)
        self.pid_file.unlink(missing_ok=True)

    def log_tail(self, lines: int = 30) -> str:
        """The end of the error log."""
        if not self.error_log.exists():
            return ""
        return "\n".join(self.error_log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> "PrivateNginx":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.own_port}/up", timeout=1) as answer:
                return bool(answer.status == 204)
        except OSError:
            return False
