"""nginx's error log shows that a reload failed. Other programs write to it as well."""

from pathlib import Path

import pytest

from conductor.traffic.reload.reloader import ErrorLog

MASTER, OTHER = 77, 770
BROKEN = '[emerg] {pid}#{pid}: unknown directive "lisen" in /etc/nginx/nginx.conf:3'


@pytest.mark.parametrize(
    ("message", "pid", "failed"),
    [
        (BROKEN, MASTER, True),
        (BROKEN, OTHER, False),  # `nginx -t` of a colleague
        ("[emerg] {pid}#{pid}: bind() to 0.0.0.0:80 failed (98: Address already in use)", MASTER, False),  # it retries
        ("[emerg] {pid}#{pid}: still could not bind()", MASTER, True),
        ("[emerg] {pid}#{pid}: still could not bind()", OTHER, False),  # a second nginx
        ("[alert] {pid}#{pid}: unlink() failed", MASTER, False),
    ],
)
def test_only_the_master_reports_a_failed_reload(tmp_path: Path, message: str, pid: int, failed: bool) -> None:
    path = tmp_path / "error.log"
    path.write_text(f"2026/11/29 07:00:00 {BROKEN.format(pid=MASTER)}\n")  # of an earlier reload
    log = ErrorLog(path, MASTER)
    line = f"2026/11/29 07:00:01 {message.format(pid=pid)}"
    with path.open("a") as stream:
        stream.write(f"{line}\n")
    assert log.reload_failed() is failed
    assert log.errors() == ((line,) if pid == MASTER else ())
