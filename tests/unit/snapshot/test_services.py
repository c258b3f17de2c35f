"""`status` and `list`: one row's trouble is that row's, and nothing that is not well is called ok."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from conductor.change.context import Context
from conductor.clock import Clock
from conductor.definitions.load import load
from conductor.errors import UsageError
from conductor.health.check import HealthChecks
from conductor.output.printers import Silent
from conductor.plan.transition import release
from conductor.plan.values import Attempt, Container, Held, Wanted
from conductor.snapshot.services import Row, look
from conductor.state.crontabs import Crontabs
from conductor.state.files import write
from conductor.state.locks import Locks
from conductor.state.store import Store
from conductor.state.supervisor_status import Notes, ServiceNote, notes_file

WEB = "{image: x, port: 80, count: 2, health: {path: /}, nginx: {}, env: {KEY: {file: %s}}}"
SECRET = "line-one-of-key\nline'two-of-\"key"


class Host:
    """Definitions, state and containers of a test; each container answers with the text of its name in `said`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "key").write_text(SECRET)
        self.define(web=WEB % (directory / "key"), other=WEB % (directory / "key"))
        self.store = Store(directory / "state")
        self.containers: list[Container] = []
        self.said: dict[str, Attempt] = {}

    def define(self, **services: str) -> None:
        lines = "".join(f"  {name}: {text}\n" for name, text in services.items())
        (self.directory / "services.yml").write_text(f"version: 1\nservices:\n{lines}")
        self.definitions = load(self.directory / "services.yml")

    def deploy(self, service: str, count: int, **wanted: Any) -> None:
        live = release(self.definitions.services[service], "r1", "sha256:1", "u1")
        self.store.write_wanted(Wanted(service=service, release=live, **wanted))
        for number in range(count):
            self.containers.append(
                Container(
                    id=f"{service}{number}", name=f"{service}-r1-{number}", service=service, revision="r1",
                    kind="service", digest="", change="u1", address=f"{service}{number}:80", image_id="sha256:1",
                    state="running",
                )
            )  # fmt: skip

    def rows(self, only: str | None = None) -> dict[str, Row]:
        found = tuple(c for c in self.containers if only in (None, c.service))
        engine = SimpleNamespace(containers=lambda _: found)
        well = Attempt(ok=True, seconds=0.0, status=200)
        host = msgspec.structs.replace(self.definitions.host, runtime_dir=str(self.directory))
        context = Context(
            host=host, runtime=engine, traffic=None, store=self.store, report=Silent(),  # type: ignore[arg-type]
            health=HealthChecks(engine, lambda address, _: self.said.get(address.partition(":")[0], well)), clock=Clock(), command="status",
            locks=Locks(self.directory / "locks", "status", Clock()), crontabs=Crontabs(str(self.directory)),
            config=self.definitions.path,
        )  # fmt: skip
        return {row.service: row for row in look(self.definitions, context, only)}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_well_and_never_deployed(host: Host) -> None:
    host.deploy("web", 2)
    rows = host.rows()
    assert list(rows) == ["web", "other"]
    assert (rows["web"].summary, rows["web"].healthy, rows["web"].notes) == ("ok", 2, ())
    assert (rows["other"].summary, rows["other"].revision) == ("never deployed", None)


@pytest.mark.parametrize(("running", "summary"), [(1, "1 missing"), (3, "1 too many")])
def test_another_number(host: Host, running: int, summary: str) -> None:
    host.deploy("web", running)
    assert host.rows()["web"].summary == summary


def test_a_failing_check_is_not_ok_and_tells_no_secret(host: Host) -> None:
    host.deploy("web", 2)
    host.said["web1"] = Attempt(ok=False, seconds=0.0, status=500, head=f"the key is {SECRET}, look")
    row = host.rows()["web"]
    assert (row.summary, row.running, row.healthy) == ("1 of 2 healthy", 2, 1)
    assert [c.health for c in row.containers] == ["healthy", "status 500 'the key is [secret], look'"]
    host.said["web1"] = Attempt(ok=False, seconds=0.0, error="sh ended with code 1", head="x line'two-of-\"key")
    assert host.rows()["web"].containers[1].health == "sh ended with code 1: x [secret]"


def test_checks_go_by_the_release_and_not_by_what_the_file_says_now(host: Host) -> None:
    host.deploy("web", 2)
    host.define(web="{image: x, cont: 2}", other=WEB % (host.directory / "key"))
    row = host.rows()["web"]
    assert (row.summary, row.healthy) == ("broken definition", 2)
    assert "services.yml:3: services.web" in row.notes[0]


@pytest.mark.parametrize("only", [None, "web"])
def test_a_damaged_state_file_is_its_rows(host: Host, only: str | None) -> None:
    host.deploy("web", 1)
    (host.directory / "state/services/web.json").write_text("{")
    rows = host.rows(only)
    assert (rows["web"].summary, len(rows["web"].containers)) == ("damaged", 1)
    assert rows["web"].notes[0].startswith(f"cannot use {host.directory}/state/services/web.json: it is damaged")
    assert only or rows["other"].summary == "never deployed"


def test_a_damaged_journal_is_a_note(host: Host) -> None:
    host.deploy("web", 2)
    (host.directory / "state/journal").mkdir()
    (host.directory / "state/journal/web.json").write_text("{")
    row = host.rows()["web"]
    assert row.summary == "ok"
    assert "journal/web.json: it is damaged" in row.notes[0]


def test_what_is_left_of_a_service_is_shown(host: Host) -> None:
    host.deploy("web", 2)
    host.define(other=WEB % (host.directory / "key"))
    rows = host.rows()
    assert list(rows) == ["other", "web"]
    assert (rows["web"].summary, rows["web"].running, rows["web"].healthy) == ("not in the definitions", 2, 2)
    assert host.rows("web") == {"web": rows["web"]}
    with pytest.raises(UsageError):
        host.rows("wep")


def test_stopped_and_scaled_by_hand(host: Host) -> None:
    held = Held(reason="a transition", who="anna (as root)", since="2026-01-01T00:00:00.000Z")
    host.deploy("web", 0, stopped=held)
    host.deploy("other", 3, scale=3)
    rows = host.rows()
    assert (rows["web"].summary, rows["web"].stopped) == ("stopped", held)
    assert rows["web"].notes == ("stopped by anna (as root) at 2026-01-01T00:00:00.000Z: a transition",)
    assert (rows["other"].summary, rows["other"].scale) == ("ok", 3)
    assert rows["other"].notes[0].startswith("scaled by hand to 3 (the definition says 2)")


@pytest.mark.parametrize("runs", [True, False], ids=["supervise runs", "it does not"])
def test_what_supervise_waits_for(host: Host, runs: bool) -> None:
    host.deploy("web", 1)
    note = ServiceNote(why="1 of 2 run and are healthy", until="2026-01-01T00:00:00Z", attempts=3)
    services = {"web": note, "other": ServiceNote(why="never deployed")}
    notes = Notes(pid=os.getpid() if runs else 2**22 + 1, since="", text="", services=services)
    write(notes_file(str(host.directory)), notes)
    said = ("supervise: 1 of 2 run and are healthy; next at 2026-01-01T00:00:00Z, tried 3 times",)
    assert host.rows()["web"].notes == (said if runs else ())
    assert host.rows()["other"].notes == ()


def test_a_pause_that_is_over_is_no_pause(host: Host) -> None:
    held = Held(reason="leap day", who="ada", since="2026-01-01T00:00:00.000Z", until="2026-01-01T01:00:00.000Z")
    host.deploy("web", 2, paused=held)
    assert host.rows()["web"].notes == ()
    host.deploy("web", 0, paused=msgspec.structs.replace(held, until="9999-01-01T01:00:00.000Z"))
    assert host.rows()["web"].notes == (
        "paused by ada at 2026-01-01T00:00:00.000Z until 9999-01-01T01:00:00.000Z: leap day",
    )
