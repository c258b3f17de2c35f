"""The latest log lines for `conductor web`: which are published, what they must not contain, and how many there are."""

import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conductor.plan.log import LogLine
from conductor.runtime.port import LogUnreadable, RuntimeUnavailable
from conductor.snapshot.published import PublishedLog, log_path, published_path
from conductor.supervise.log import SupervisorLog
from conductor.supervise.log_publisher import (
    BURST_SECONDS,
    LINE_CHARACTERS,
    MESSAGE_BYTES,
    PAUSE_TIMES,
    SERVICE_LINES,
    THREAD,
    LogPublisher,
    LogRuntime,
)
from tests.fakes.world import WEB, WORKER
from tests.unit.supervise.conftest import SupervisedHost

SECRET = "correct horse battery staple"


class Logged:
    """A host whose log lines are published when a test says so."""

    def __init__(self, host: SupervisedHost, *more: Any) -> None:
        self.host = host
        self.publisher = LogPublisher(host.context(), SupervisorLog(host.lines.append), *more)

    def path(self, service: str = "web") -> Path:
        return log_path(published_path(self.host.definitions.host.runtime_dir), service)

    def say(self, text: str, replica: int = 0, service: str = "web") -> None:
        self.host.runtime.print(self.host.replicas(service)[replica].id, text)

    def published(self, service: str = "web") -> PublishedLog:
        self.host.run_pass()
        assert self.host.results.observed is not None
        self.publisher.publish(self.host.results.observed)
        return msgspec.json.decode(self.path(service).read_bytes(), type=PublishedLog)

    def texts(self, service: str = "web") -> list[str]:
        return [line.text for line in self.published(service).lines]


@pytest.fixture
def logged(host: SupervisedHost) -> Logged:
    return Logged(host)


def test_the_lines_of_all_replicas_with_their_names(logged: Logged) -> None:
    logged.say("one")
    logged.say("two", replica=1)
    found = logged.published()
    names = [one.name.removeprefix("web-") for one in logged.host.replicas()]
    lines = [(line.replica, line.text) for line in found.lines if line.text in {"one", "two"}]
    assert lines == [(names[0], "one"), (names[1], "two")]
    assert found.complete


def test_new_lines_are_added_and_old_ones_are_left_out(logged: Logged) -> None:
    logged.published()
    for number in range(SERVICE_LINES + 5):
        logged.say(f"line {number}")
    assert logged.texts() == [f"line {number}" for number in range(5, SERVICE_LINES + 5)]
    logged.say("the last")
    assert logged.texts()[-2:] == [f"line {SERVICE_LINES + 4}", "the last"]


def test_the_last_lines_of_a_replica_that_was_removed_stay(logged: Logged) -> None:
    logged.say("the reason")
    assert "the reason" in logged.texts()
    logged.host.upgrade("r2")
    assert "the reason" in logged.texts()


def test_neither_secrets_nor_control_characters(logged: Logged, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    logged.host.define({"web": {**WEB, "env": {"PASSWORD": {"file": str(tmp_path / "secret")}}}})
    logged.host.upgrade("r2")
    logged.say(f"\x1b[31mwith {SECRET}")
    assert logged.texts()[-1] == "\\u001b[31mwith [secret]"
    assert SECRET not in logged.path().read_text()


@pytest.mark.parametrize("before", ["", "x" * (LINE_CHARACTERS - 20)])
def test_no_credentials_of_a_url(logged: Logged, before: str) -> None:
    """They may be in a variable that is no secret. They are removed before a long line is cut."""
    logged.say(f"{before}postgres://shop:swordfish@db/shop")
    (*_, text) = logged.texts()
    assert text == f"{before}postgres://[secret]@db/shop"[: LINE_CHARACTERS - 1] + "…" * bool(before)


def test_lines_are_hidden_while_the_secrets_cannot_be_read(logged: Logged, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    logged.host.define({"web": {**WEB, "env": {"PASSWORD": {"file": str(tmp_path / "secret")}}}})
    logged.host.upgrade("r2")
    (tmp_path / "secret").unlink()
    logged.say(f"with {SECRET}")
    assert logged.texts()[-1] == "(hidden: the service's secrets cannot be read)"


def test_a_long_line_is_cut(logged: Logged) -> None:
    logged.say("x" * 100_000)
    logged.say("\0" * LINE_CHARACTERS)
    assert [len(text) for text in logged.texts()[-2:]] == [LINE_CHARACTERS] * 2
    assert logged.texts()[-2].endswith("x…")


class Messages:
    """A log of Docker's, from which lines are read. A line of more than `MESSAGE_BYTES` is several messages."""

    def __init__(self, *lines: str) -> None:
        self._messages = [line[at : at + MESSAGE_BYTES] for line in lines for at in range(0, len(line), MESSAGE_BYTES)]

    def read_log(self, _container: str, *, since: str, tail: int) -> list[LogLine]:
        assert since == ""
        lines = [""]
        for message in self._messages[-tail:]:
            lines[-1] += message
            lines += [""] if len(message) < MESSAGE_BYTES else []
        return [LogLine("", "stdout", line) for line in lines[:-1]]


@pytest.mark.parametrize(
    ("tail", "shown"), [(2, ["b", "c"]), (3, ["b", "c"]), (4, ["b", "c"]), (5, [2 * MESSAGE_BYTES + 1, "b", "c"])]
)
def test_the_rest_of_a_line_is_left_out_because_a_secret_may_be_cut(tail: int, shown: list[Any]) -> None:
    messages: Any = Messages("a" * (2 * MESSAGE_BYTES) + "z", "b", "c")
    lines = [one.text for one in LogRuntime(messages).read_log("id", since="", tail=tail)]
    assert [len(line) if len(line) > 1 else line for line in lines] == shown


def test_a_log_that_cannot_be_read(logged: Logged) -> None:
    logged.say("one")
    logged.say("two", replica=1)
    logged.host.runtime.fail("read_log", 1, LogUnreadable("cannot read the log: it quotes a line"))
    found = logged.published()
    assert (found.complete, found.lines[-1].text) == (False, "two")
    assert "quotes" not in logged.path().read_text()


def test_a_file_is_written_only_with_new_lines(logged: Logged) -> None:
    logged.published()
    before = logged.path().stat().st_ino
    logged.published()
    assert logged.path().stat().st_ino == before
    logged.say("news")
    logged.published()
    assert logged.path().stat().st_ino != before


def test_the_files_of_removed_services_are_removed(logged: Logged) -> None:
    logged.host.define({"web": WEB, "new": WORKER})
    assert logged.published("new").lines == ()
    (logged.path().parent / ".killed.json.new").touch()
    logged.host.define({"web": WEB})
    logged.published()
    assert sorted(path.name for path in logged.path().parent.iterdir()) == ["web.json"]


def test_with_many_services_each_has_fewer_lines(host: SupervisedHost) -> None:
    logged = Logged(host, None, 7)
    host.define({"web": WEB, "new": WORKER, "other": WORKER})
    for number in range(4):
        logged.say(f"line {number}")
    assert logged.texts() == ["line 2", "line 3"]


def test_docker_does_not_answer(logged: Logged) -> None:
    logged.say("before")
    before = logged.published()
    logged.host.runtime.away = True
    logged.publisher.publish(logged.host.results.observed)  # type: ignore[arg-type]
    assert msgspec.json.decode(logged.path().read_bytes(), type=PublishedLog) == before
    assert logged.host.lines == []
    logged.host.runtime.away = False
    logged.say("after")
    assert logged.texts()[-2:] == ["before", "after"]


def test_only_root_may_enter_the_directory_above(logged: Logged) -> None:
    logged.published()
    modes = [path.stat().st_mode & 0o777 for path in (logged.path(), *list(logged.path().parents)[:3])]
    assert modes == [0o644, 0o755, 0o755, 0o700]


class Pauses(threading.Event):
    """Collects how long a thread waits for its end."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        return False


def test_it_waits_in_proportion_to_its_work(host: SupervisedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an idle time, pauses of `BURST_SECONDS` are left out."""
    pauses, work, used = Pauses(), 0.5, 0.0
    logged = Logged(host, pauses)

    def thread_cpu() -> float:
        nonlocal used
        used += work / 2
        return used

    monkeypatch.setattr(host.clock, "thread_cpu", thread_cpu)
    for _ in range(3):
        logged.published()
    first = work / 2 * PAUSE_TIMES - BURST_SECONDS
    assert pauses.seconds == [first, first + work / 2 * PAUSE_TIMES, first + work * PAUSE_TIMES]
    host.clock.advance(10_000)
    logged.published()
    assert pauses.seconds[-1] == first


@pytest.mark.parametrize("enabled", [True, False])
def test_lines_are_published_only_if_the_host_says_so(host: SupervisedHost, *, enabled: bool) -> None:
    earlier = Logged(host)
    earlier.published()
    host.define({"web": WEB}, web={"logs": enabled})
    host.supervise()
    host.runtime.print(host.replicas()[0].id, "news")
    host.run_pass(publish=True)
    threads = [thread for thread in threading.enumerate() if thread.name == THREAD]
    assert len(threads) == enabled
    until = time.monotonic() + 10
    while enabled and "news" not in earlier.path().read_text() and time.monotonic() < until:
        time.sleep(0.01)
    host.publisher.end()
    for thread in threads:
        thread.join()
    assert earlier.path().exists() == enabled
    if enabled:
        assert "news" in earlier.path().read_text()


def test_the_lines_of_a_service_that_returns_are_written_again(logged: Logged) -> None:
    logged.say("the same")
    assert logged.texts() == ["the same"]
    observed = logged.host.results.observed
    assert observed is not None
    logged.host.runtime.fail("read_log", error=RuntimeUnavailable("Docker is not responding"))
    logged.publisher.publish(observed)
    gone = msgspec.structs.replace(
        observed, services=frozenset(), definitions=msgspec.structs.replace(observed.definitions, ids=())
    )
    logged.publisher.publish(gone)
    assert not logged.path().exists()
    logged.publisher.publish(observed)
    assert logged.path().exists()
