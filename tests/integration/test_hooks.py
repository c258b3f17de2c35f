"""`before_upgrade`: a command in the new revision that runs once before its replicas start, never twice at once, never undone."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from conductor.state.store import Store
from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.commands import Spawned
from tests.support.daemon import SOCKET
from tests.support.daemon_between import DaemonBetween, Trouble
from tests.support.host import TestHost, merged
from tests.support.spans import Span, hook, hook_until, overlaps, spans

WAITING = "before_upgrade for web is still running; waiting for it to finish\n"
NOT_UNDONE = "has run, and its effects were not undone"
MIGRATION = 'echo "$GREETING, $REVISION, the word is $TOKEN"; echo and on stderr >&2; hostname >>/volume/ran'
TOKEN = "tok-hook-51f0aa93"


def volume(host: TestHost) -> Path:
    made = host.directory / "volume"
    made.mkdir(exist_ok=True)
    return made


def define(host: TestHost, command: list[str], *, timeout: str = "20s", **more: Any) -> None:
    """`web` with this hook, a secret and a volume."""
    secret = host.directory / "token"
    secret.write_text(f"{TOKEN}\n")
    service = {
        "env": {"GREETING": "hello", "TOKEN": {"file": str(secret)}},
        "volumes": [f"{volume(host)}:/volume"],
        "before_upgrade": {"command": command, "timeout": timeout},
    }
    host.define({"web": merged(merged(QUICK, service), more)})


def under_way(host: TestHost) -> tuple[Spawned, str]:
    """An upgrade whose hook runs, and that hook's container."""
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")

    def running() -> list[str]:
        return [c.id for c in host.containers("web") if c.kind == "hook" and c.state == "running"]

    return upgrade, host.wait_for(running, "the hook")[0]


def define_until_go(host: TestHost) -> Path:
    """`web` with a hook that ends once the returned file exists."""
    go = volume(host) / "go"
    go.unlink(missing_ok=True)
    define(host, hook_until("/volume/hooks", "/volume/go"), timeout="2m")
    return go


def ran(host: TestHost) -> list[Span]:
    return spans(volume(host) / "hooks")


def test_it_runs_once_before_anything_starts_as_the_service_would(serving: TestHost) -> None:
    define(serving, ["sh", "-c", MIGRATION])
    result = serving.upgrade("r2", check=True)
    lines = result.stderr.splitlines()
    assert "web hook: hello, r2, the word is [secret]" in lines, str(result)
    assert "web hook: and on stderr" in lines
    began = {line.split()[0]: n for n, line in reversed(list(enumerate(lines))) if line.startswith("  ")}
    assert began["hook"] < lines.index("web hook: and on stderr") < began["start"]
    assert len((volume(serving) / "ran").read_text().splitlines()) == 1
    (log,) = (serving.state_dir / "logs" / "web").glob("web-r2-*-hook.log")
    kept = Store(serving.state_dir).kept_log("web", log.stem)
    assert kept is not None
    assert (kept.revision, kept.kind) == ("r2", "hook")
    assert sorted((line.stream, line.text) for line in kept.lines) == [
        ("stderr", "and on stderr"),
        ("stdout", "hello, r2, the word is [secret]"),
    ]
    assert TOKEN not in result.output
    assert serving.history()[-1]["steps"]["hook"] > 0
    nothing_left_behind(serving, "r2")


def test_the_commands_that_run_no_hook(serving: TestHost) -> None:
    define(serving, hook("/volume/hooks", 0))
    before = len(ran(serving))
    serving.upgrade("r2", check=True)
    assert len(ran(serving)) == before + 1
    for words in (["rollback"], ["restart"], ["scale", "--count", "2"], ["scale", "--reset"], ["stop"], ["start"]):
        serving.conductor("service", words[0], "--id", "web", *words[1:], check=True)
    plan = serving.upgrade("r3", "web", "--plan", check=True).stderr
    assert "    hook  run before_upgrade for web r3: sh -c " in plan
    skipped = serving.upgrade("r3", "web", "--skip-hooks", check=True)
    assert "hook" not in skipped.stderr
    assert "nothing to do" in serving.upgrade("r3", check=True).stderr
    assert len(ran(serving)) == before + 1
    nothing_left_behind(serving, "r3")


FAILING: dict[str, tuple[list[str], str, tuple[str, ...]]] = {
    "a code": (
        ["sh", "-c", 'echo "no column $TOKEN"; exit 7'], "20s",
        ("before_upgrade for web exited with code 7", "\n    no column [secret]\n", NOT_UNDONE),
    ),
    "a timeout": (
        ["sh", "-c", "echo begun; sleep 60"], "1s",
        ("before_upgrade for web did not finish within 1s and was stopped", NOT_UNDONE),
    ),
    "a command that is not there": (["bin/migrate"], "20s", ("bin/migrate", "no such file or directory")),
}  # fmt: skip


@pytest.mark.parametrize(("command", "timeout", "words"), FAILING.values(), ids=FAILING)
def test_one_that_fails(serving: TestHost, command: list[str], timeout: str, words: tuple[str, ...]) -> None:
    define(serving, command, timeout=timeout)
    result = serving.upgrade("r2")
    told = failed(result, 1, "cannot upgrade web: ", *words, "web is still running r1 with 1 replica\n")
    assert "start  " not in told
    assert TOKEN not in told
    assert result.seconds < 60
    assert serving.history()[-1]["outcome"] == "rolled-back"
    nothing_left_behind(serving, "r1")


def test_one_that_is_killed_from_outside(serving: TestHost) -> None:
    define(serving, ["sh", "-c", "sleep 60"])
    upgrade, running = under_way(serving)
    serving.kill(running)
    failed(upgrade.wait(20), 1, "before_upgrade for web exited with code 137", NOT_UNDONE)
    nothing_left_behind(serving, "r1")


def test_one_that_is_removed_from_outside(serving: TestHost) -> None:
    define(serving, ["sh", "-c", "sleep 60"])
    upgrade, running = under_way(serving)
    serving.daemon.api.remove_container(running, force=True)
    failed(upgrade.wait(20), 1, "cannot upgrade web: before_upgrade for web ", NOT_UNDONE)
    nothing_left_behind(serving, "r1")


@pytest.mark.parametrize("call", ["GET .*/containers/json", r"GET .*/containers/\w+/json", "GET .*/logs"])
def test_a_daemon_that_fails_for_a_moment(serving: TestHost, call: str) -> None:
    """A running migration is not killed for that, and its exit is seen later."""
    with DaemonBetween(serving.directory / "between.sock") as between:
        go = define_until_go(serving)
        serving.define_raw(serving.config.read_text().replace(SOCKET, between.url))
        before = len(ran(serving))
        upgrade, _ = under_way(serving)
        serving.wait_for(lambda: len(ran(serving)) > before, "the hook to start")
        between.trouble = (Trouble(call),)
        time.sleep(0.5)
        between.trouble = ()
        go.touch()
        upgrade.wait(30).expect(0)
    assert [span.ended for span in ran(serving)[before:]] == [True]
    nothing_left_behind(serving, "r2")


def test_a_log_that_cannot_be_read(serving: TestHost) -> None:
    define(serving, hook("/volume/hooks", 0.5), logging={"driver": "none"})
    serving.upgrade("r2", check=True)
    assert ran(serving)[-1].ended
    define(serving, ["false"], logging={"driver": "none"})
    failed(serving.upgrade("r3"), 1, "before_upgrade for web exited with code 1", NOT_UNDONE)


def test_ctrl_c_stops_it_and_the_error_reports_that_it_is_not_undone(serving: TestHost) -> None:
    define(serving, ["sh", "-c", "sleep 60"])
    upgrade, _ = under_way(serving)
    upgrade.signal(signal.SIGINT)
    result = upgrade.wait(20)
    failed(result, 130, NOT_UNDONE)
    nothing_left_behind(serving, "r1")


def test_a_later_failure_reports_it_too(serving: TestHost) -> None:
    define(serving, hook("/volume/hooks", 0), env={"FAULT_r2": "exit"})
    before = len(ran(serving))
    failed(serving.upgrade("r2"), 1, "exited with code 3", f"before_upgrade for web {NOT_UNDONE}\n")
    assert len(ran(serving)) == before + 1
    told = failed(serving.upgrade("r2", "web", "--skip-hooks"), 1, "exited with code 3")
    assert NOT_UNDONE not in told
    nothing_left_behind(serving, "r1")


@pytest.mark.parametrize("second", [0, 4], ids=["both well", "the second fails"])
def test_two_services_one_after_the_other(host: TestHost, second: int) -> None:
    log = {"volumes": [f"{volume(host)}:/volume"]}
    one = merged(QUICK, {**log, "before_upgrade": {"command": hook("/volume/hooks", 0.5)}})
    words = hook("/volume/hooks", 0.1)
    two = merged(one, {"before_upgrade": {"command": ["sh", "-c", f"{words[2]}; exit {second}", *words[3:]]}})
    host.define({"web": one, "api": two})
    result = host.conductor("service", "upgrade", "--id", "web", "--id", "api", "--revision", "r2")
    if second:
        told = failed(
            result,
            1,
            "cannot upgrade web, api: before_upgrade for api exited with code 4",
            f"before_upgrade for web {NOT_UNDONE}\n",
        )
        assert "start  " not in told
    else:
        result.expect(0)
    both = ran(host)
    assert overlaps(both) == []
    assert [round(span.last - span.began, 1) >= least for span, least in zip(both, (0.5, 0.1), strict=True)] == [
        True
    ] * 2
    for service in ("web", "api"):
        nothing_left_behind(host, None if second else "r2", service)


@pytest.mark.parametrize("waits", [True, False], ids=["it still runs", "it has ended by then"])
def test_the_upgrade_is_killed_while_it_runs(serving: TestHost, waits: bool) -> None:
    go = define_until_go(serving)
    before = len(ran(serving))
    upgrade = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    serving.wait_for(lambda: len(ran(serving)) > before, "the hook")
    upgrade.kill()
    if not waits:
        go.touch()
        serving.wait_for(lambda: ran(serving)[-1].ended, "its end")
    define(serving, hook("/volume/hooks", 0.1))
    after = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r3")
    if waits:
        serving.wait_for(lambda: WAITING in after.stderr, "the waiting")
        go.touch()
    after.wait().expect(0)
    assert ("r2", "recovered-rolled-back") in [(entry["to"], entry["outcome"]) for entry in serving.history()]
    mine = ran(serving)[before:]
    assert [(span.revision, span.ended) for span in mine] == [("r2", True), ("r3", True)]
    assert overlaps(ran(serving)) == []
    nothing_left_behind(serving, "r3")


def test_ctrl_c_while_it_is_waited_for_after_a_crash(serving: TestHost) -> None:
    """The command ends, the hook continues, and the next command waits for it again."""
    go = define_until_go(serving)
    before = len(ran(serving))
    upgrade, running = under_way(serving)
    upgrade.kill()
    waiting = serving.spawn("service", "restart", "--id", "web")
    serving.wait_for(lambda: WAITING in waiting.stderr, "the waiting")
    waiting.signal(signal.SIGINT)
    assert "interrupted" in waiting.wait(20).expect(130).stderr  # before the hook ends
    assert [c.id for c in serving.containers("web") if c.kind == "hook" and c.state == "running"] == [running]
    again = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r3", "--skip-hooks")
    serving.wait_for(lambda: WAITING in again.stderr, "the waiting again")
    go.touch()
    again.wait().expect(0)
    assert [span.ended for span in ran(serving)[before:]] == [True]
    nothing_left_behind(serving, "r3")
