"""`conductor service logs` on real Docker: every line of every replica exactly once."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Spawned
from tests.support.host import TestHost
from tests.support.images import APP
from tests.support.private_daemon import PrivateDaemon
from tests.support.terminal import Terminal

# It prints numbered lines on both streams until SIGTERM, then more than the 2,000 lines that Conductor keeps.
COUNTS = """
trap 'i=0; while [ $i -lt 2500 ]; do n=$((n+1)); i=$((i+1)); echo out $n; done; echo bye $n; exit 0' TERM
n=0; echo "the key is $KEY"
while :; do n=$((n+1)); echo out $n; echo err $n >&2; sleep 0.01; done
"""
SAYS = r"""
trap 'exit 0' TERM
printf 'the key is %s\n\033[31mred\n' "$KEY"; for n in $(seq 150); do echo "line $n"; done
while :; do sleep 0.05; done
"""
HEALTH = ("path", "gate_interval", "timeout", "start_timeout")  # of the host's default service
KEY = "key-77e0c1a9"


def worker(host: TestHost, script: str, **fields: Any) -> dict[str, Any]:
    secret = host.directory / "KEY"
    secret.write_text(KEY)
    return {
        "count": 1, "env": {"KEY": {"file": str(secret)}}, "command": ["sh", "-c", script], "port": None, "nginx": None,
        "health": {"none": True, "stable_for": "300ms", **dict.fromkeys(HEALTH)}, "stop": {"grace": "20s"}, **fields,
    }  # fmt: skip


def lines_of(followed: Spawned) -> dict[str, dict[str, list[str]]]:
    """Return the lines of each replica and stream, in the order in which they were printed."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for text in followed.stdout.splitlines():
        line = json.loads(text)
        assert line["line"] != ""
        found[line["replica"]][line["stream"]].append(line["line"])
    return found


def assert_each_line_once(streams: dict[str, list[str]], *, retired: bool) -> None:
    out, err = streams["stdout"], streams["stderr"]
    assert out[0] == "the key is [secret]"
    if retired:
        assert out[-1] == f"bye {len(out) - 2}"
        out = out[:-1]
    assert out[1:] == [f"out {n}" for n in range(1, len(out))]
    assert err == [f"err {n}" for n in range(1, len(err) + 1)]
    assert len(err) >= 10


def runs_of(streams: dict[str, list[str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Split the lines of a replica that was started twice."""
    out, err = streams["stdout"], streams["stderr"]
    second = (out.index("the key is [secret]", 1), err.index("err 1", 1))
    return (
        {"stdout": out[: second[0]], "stderr": err[: second[1]]},
        {"stdout": out[second[0] :], "stderr": err[second[1] :]},
    )


def test_following_through_five_upgrades(host: TestHost) -> None:
    host.define({"web": worker(host, COUNTS, count=2)})
    host.upgrade("r1", check=True)
    followed = host.spawn("service", "logs", "--id", "web", "--follow", "--tail", "all", "--json")
    for number in range(2, 7):
        host.upgrade(f"r{number}", check=True)
    current = {c.name for c in host.containers() if c.state == "running"}
    host.wait_for(lambda: len(lines_of(followed)) == 12, "lines of all replicas")
    retired = [streams for name, streams in lines_of(followed).items() if name not in current]
    host.wait_for(
        lambda: all(s["stdout"][-1].startswith("bye") for n, s in lines_of(followed).items() if n not in current),
        "the last lines of the retired replicas",
    )
    followed.signal(signal.SIGINT)
    assert followed.wait(10).expect(130).stderr.strip() == ""
    found = lines_of(followed)
    assert len(retired) == 10
    for name, streams in found.items():
        assert_each_line_once(streams, retired=name not in current)
    kept = host.conductor("service", "logs", "--id", "web", "--release", "r1", "--tail", "all", check=True)
    assert len(kept.stdout.splitlines()) == 2 * 2000


def test_what_is_shown(host: TestHost) -> None:
    host.define({"web": worker(host, SAYS)})
    never = host.conductor("service", "logs", "--id", "web").expect(1)
    assert "error: cannot show the logs of web: it has never been deployed on this host\n" in never.stderr
    host.conductor("service", "logs", "--id", "wbe").expect(2)
    host.upgrade("r1", check=True)
    logs = ("service", "logs", "--id", "web")
    all_lines = (*logs, "--tail", "all")
    host.wait_for(lambda: len(host.conductor(*all_lines).stdout.splitlines()) >= 152, "the last line", 30)
    shown = host.conductor(*all_lines, check=True)
    (name,) = (c.name.removeprefix("web-") for c in host.containers())
    lines = ["the key is [secret]", r"\u001b[31mred", *(f"line {n}" for n in range(1, 151))]
    assert shown.stdout.splitlines() == [f"{name} | {line}" for line in lines]
    assert shown.stderr == ""
    assert len(host.conductor(*logs).stdout.splitlines()) == 100
    none = host.conductor(*logs, "--tail", "0", check=True)
    assert (none.stdout, none.stderr) == ("", "")
    assert host.conductor(*logs, "--grep", r"^\x1b").stdout == f"{name} | \\u001b[31mred\n"
    assert host.conductor(*logs, "--since", "2999-01-01T00:00:00Z").stderr == "web has no log lines that match\n"
    assert len(host.conductor(*logs, "--since", "10m").stdout.splitlines()) == 152
    with Terminal(host, *logs, "--tail", "1") as terminal:
        terminal.until(b"line 150")
        assert f"\x1b[36m{name} | \x1b[0mline 150".encode() in terminal.shown
    host.upgrade("r2", check=True)

    def with_last_line() -> list[str]:
        return re.findall(r"^(r\d)\S+ +\| line 150$", host.conductor(*all_lines).stdout, re.MULTILINE)

    host.wait_for(lambda: with_last_line() == ["r1", "r2"], "the last lines of both", 30)


@pytest.mark.parametrize("follow", [(), ("--follow",)])
def test_a_reader_that_closes_the_pipe(host: TestHost, follow: tuple[str, ...]) -> None:
    host.define({"web": worker(host, COUNTS)})
    host.upgrade("r1", check=True)
    read, write = os.pipe()
    shown = host.spawn("service", "logs", "--id", "web", "--tail", "all", *follow, stdout=write)
    os.close(write)
    assert os.read(read, 1)
    os.close(read)
    assert shown.wait(10).expect(0).stderr == ""


def test_a_logging_driver_that_only_writes(host: TestHost) -> None:
    host.define({"web": worker(host, SAYS, logging={"driver": "none"})})
    host.upgrade("r1", check=True)
    shown = host.conductor("service", "logs", "--id", "web").expect(1)
    assert shown.stdout == ""
    assert re.fullmatch(
        r"warning: cannot read the log of container \w{12}: configured logging driver does not support reading\n",
        shown.stderr,
    )


def test_a_failed_replica(host: TestHost) -> None:
    host.define({"web": worker(host, "echo no moon phase >&2; exit 3")})
    refused = host.upgrade("r1").expect(1)
    assert refused.stderr.splitlines()[-1].strip() == "conductor service logs --id web --release r1"
    shown = host.conductor("service", "logs", "--id", "web", "--release", "r1", "--json", check=True)
    assert [json.loads(line)["line"] for line in shown.stdout.splitlines()] == ["no moon phase"]


def test_following_through_a_restart_of_docker(images: None) -> None:
    """The containers are stopped with the daemon, and started again afterwards."""
    directory = Path(tempfile.mkdtemp(prefix=f"conductor-test-{os.getpid()}-"))
    try:
        with PrivateDaemon(directory, 1024) as dockerd, TestHost(dockerd.url) as host:
            dockerd.load(f"{APP}:r1")
            host.define({"web": worker(host, COUNTS)})
            host.upgrade("r1", check=True)
            followed = host.spawn("service", "logs", "--id", "web", "--follow", "--tail", "all", "--json")
            host.wait_for(lambda: lines_of(followed), "a line")
            dockerd.stop()
            dockerd.start()
            (container,) = host.containers()
            subprocess.run(["docker", "-H", dockerd.url, "start", container.name], check=True, capture_output=True)

            host.wait_for(lambda: followed.stdout.count('"err 20"') == 2, "lines after the restart")
            followed.signal(signal.SIGINT)
            assert followed.wait(10).expect(130).stderr.count("warning: ") <= 2
            before, after = runs_of(lines_of(followed)[container.name])
            assert_each_line_once(before, retired=True)
            assert_each_line_once(after, retired=False)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
