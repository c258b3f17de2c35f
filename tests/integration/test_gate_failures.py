"""New containers that never become healthy: the error that the operator reads. The live release keeps serving."""

import re
import subprocess
import time
from typing import Any

import pytest

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.host import TestHost, merged

pytestmark = pytest.mark.both_ways

START_SECONDS = 5  # also on a busy machine, the app has started by then
STILL = "\n  web is still running r1 with 1 replica\n"
LISTENS = "\n      web r2: listening on 8080\n"
# For each fault of the app: more health settings, the sentence, and details of the error.
FAULTS = {
    "exit": (
        {},
        r"cannot upgrade web: web-r2-\w{8}-1 exited with code 3\n",
        ("check /health: connection refused", "\n      web r2: cannot start: the configuration is missing its moon phase\n"),
    ),
    "exit-later": (
        {"start_timeout": "30s", "successes": 1000},
        r"cannot upgrade web: web-r2-\w{8}-1 exited with code 3\n",
        ("check /health: status 200 ", f"{LISTENS}      web r2: out of ideas\n"),
    ),
    "never": (
        {},
        r"cannot upgrade web: web-r2-\w{8}-1 was not healthy after ([\d.]+)s: connection refused",
        ("; running\n", "check /health: connection refused (×", "\n    the app is not listening on any TCP port\n", "\n      web r2: thinking about listening\n"),
    ),
    "500": (
        {},
        r"cannot upgrade web: web-r2-\w{8}-1 was not healthy after ([\d.]+)s: status 500",
        ("check /health: status 500 '{\"error\": \"the database is on holiday\"", LISTENS),
    ),
    "redirect": (
        {},
        r"cannot upgrade web: web-r2-\w{8}-1 was not healthy after ([\d.]+)s: status 302",
        ("check /health: status 302 'redirects to /elsewhere' (×", LISTENS),
    ),
    "hang": (
        {},
        r"cannot upgrade web: web-r2-\w{8}-1 was not healthy after ([\d.]+)s: no response within 0.5s",
        ("check /health: no response within 0.5s (×", LISTENS),
    ),
    "silent": (
        {},
        r"cannot upgrade web: web-r2-\w{8}-1 was not healthy after ([\d.]+)s: no response within 0.5s",
        ("check /health: no response within 0.5s (×", LISTENS),
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_container_that_never_becomes_healthy(serving: TestHost, fault: str) -> None:
    health, sentence, words = FAULTS[fault]
    health = {"start_timeout": f"{START_SECONDS}s", **health}
    serving.define({"web": merged(QUICK, {"env": {"FAULT_r2": fault}, "health": health})})
    result = serving.upgrade("r2")
    told = failed(result, 1, *words, STILL)
    found = assert_matches(sentence, told)
    assert all(float(seconds) >= START_SECONDS for seconds in found.groups())
    assert_matches(r"\n  web-r2-\w{8}-1 at [\d.]+:8080: not healthy after ", told)
    assert result.seconds < 30  # the longest start timeout
    nothing_left_behind(serving, "r1")
    last = serving.history()[-1]
    assert (last["outcome"], last["from"], last["to"]) == ("rolled-back", "r1", "r2")


def assert_matches(pattern: str, told: str) -> re.Match[str]:
    """Search `pattern` in `told`, and show the text if it is not found."""
    found = re.search(pattern, told)
    assert found, told
    return found


@pytest.mark.parametrize(
    ("bind", "port", "words"),
    [
        (
            "127.0.0.1",
            8080,
            "the app is listening only on 127.0.0.1:8080, which cannot be reached from outside the container",
        ),
        ("0.0.0.0", 3000, "the app is listening on 0.0.0.0:3000, not on port 8080"),
    ],
)
def test_a_container_that_listens_elsewhere(serving: TestHost, bind: str, port: int, words: str) -> None:
    """Refused connections alone do not say what is wrong."""
    command = ["python3", "-m", "http.server", str(port), "--bind", bind]
    serving.define({"web": merged(QUICK, {"command": command, "health": {"start_timeout": "6s"}})})
    failed(serving.upgrade("r2"), 1, "connection refused", f"\n    {words}", STILL)
    nothing_left_behind(serving, "r1")


def test_one_of_two_is_unhealthy(serving: TestHost) -> None:
    """The other one is reported as healthy, and both are removed. The container that creates the directory first is healthy."""
    once = ["sh", "-c", "mkdir /shared/first && exec python3 /app/app.py; sleep 3; echo no room for two >&2; exit 7"]
    shared = serving.directory / "shared"
    shared.mkdir()
    extra = {"count": 2, "command": once, "volumes": [f"{shared}:/shared"], "health": {"start_timeout": "5s"}}
    serving.define({"web": merged(QUICK, extra)})
    told = failed(
        serving.upgrade("r2"), 1, "exited with code 7", ": healthy; running\n", "\n      no room for two\n", STILL
    )
    assert told.count("\n  web-r2-") == 2
    nothing_left_behind(serving, "r1")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["bin/no-such-thing"], ('exec: "bin/no-such-thing"', "no such file or directory")),
        (["no-such-thing"], ('exec: "no-such-thing": executable file not found in $PATH',)),
        (["/etc"], ('exec: "/etc": ', "permission denied")),  # runc 1.1.15 adds "is a directory"
    ],
    ids=["no file", "not in PATH", "not executable"],
)
def test_a_command_that_is_not_in_the_image(serving: TestHost, command: list[str], words: tuple[str, ...]) -> None:
    serving.define({"web": merged(QUICK, {"command": command})})
    told = failed(serving.upgrade("r2"), 1, "cannot upgrade web: cannot start container web-r2-", *words, STILL)
    assert told.count("\n") < 10
    nothing_left_behind(serving, "r1")


def test_a_container_that_is_killed_for_its_memory(serving: TestHost) -> None:
    """Not every kernel reports the reason to the daemon, and some do late; the exit code and the log are always there."""
    eats = ["python3", "-c", "print('hungry', flush=True); x = bytearray(200_000_000); input()"]
    serving.define({"web": merged(QUICK, {"command": eats, "memory": "16MiB"})})
    began = time.time()
    told = failed(serving.upgrade("r2"), 1, "\n      hungry\n", STILL)
    filters = {"type": "container", "event": ["oom", "die"], "label": f"conductor.instance={serving.instance}"}
    events = serving.daemon.api.events(since=int(began), until=str(time.time()), filters=filters, decode=True)
    at = {event["Action"]: event["timeNano"] for event in events}
    reason, code_alone = "was killed: out of memory \\(exit code 137\\)", "exited with code 137: SIGKILL.*"
    if "oom" not in at:
        reason = code_alone
    elif at["oom"] > at["die"]:  # Conductor waits a limited time for such an event
        reason = f"(?:{reason}|{code_alone})"
    assert_matches(f"-1 {reason}\n", told)
    nothing_left_behind(serving, "r1")


def test_only_the_end_of_a_long_log_and_no_secret_in_it(serving: TestHost) -> None:
    secret = serving.directory / "token"
    secret.write_text("hunter2-hunter2\n")
    chatty = ["sh", "-c", "for n in $(seq 100); do echo line $n of $TOKEN; done; printf '\\377'; exit 1"]
    env = {"TOKEN": {"file": str(secret)}}
    serving.define({"web": merged(QUICK, {"command": chatty, "env": env})})
    told = failed(serving.upgrade("r2"), 1, "exited with code 1", "      line 100 of [secret]\n", STILL)
    assert "line 79 " not in told
    assert "hunter2" not in told
    nothing_left_behind(serving, "r1")


def test_a_first_deployment_that_fails(host: TestHost) -> None:
    """There is no earlier release: the container is removed, and nothing answers."""
    host.define({"web": merged(QUICK, {"env": {"FAULT": "exit"}})})
    failed(
        host.upgrade("r1"), 1, "exited with code 3", "\n  web has never been deployed on this host and is not running\n"
    )
    nothing_left_behind(host, None)
    host.define({"web": QUICK})
    host.upgrade("r1", check=True)
    nothing_left_behind(host, "r1")


def test_proxy_variables_do_not_steer_the_checks(serving: TestHost) -> None:
    nowhere: dict[str, Any] = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    serving.upgrade("r2", env=nowhere, check=True)
    nothing_left_behind(serving, "r2")


def test_the_containers_of_a_failure_are_gone_from_the_daemon_too(serving: TestHost) -> None:
    """By name, whatever their labels."""
    serving.define({"web": merged(QUICK, {"env": {"FAULT_r2": "exit"}})})
    serving.upgrade("r2").expect(1)
    names = subprocess.run(
        ["docker", "ps", "--all", "--filter", f"network={serving.network}", "--format", "{{.Names}}"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert names == [c.name for c in serving.containers()]
    assert len(names) == 1
