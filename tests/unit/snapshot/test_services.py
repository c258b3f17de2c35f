"""`service list` and `service status`: a problem of one service is shown in its own row, and only a healthy one is ok."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from conductor.cancellation import SignalCancellation
from conductor.change.context import Context
from conductor.clock import Clock
from conductor.definitions.load import load
from conductor.definitions.model import Health
from conductor.errors import UsageError
from conductor.output.printers import NoOutput
from conductor.output.tables import as_document
from conductor.plan.journal import Journal
from conductor.plan.reason import Mismatch, NeverDeployed
from conductor.plan.release import Hold, Image, Wanted
from conductor.plan.replica import CheckResult, Containers, Replica
from conductor.plan.transition import new_release
from conductor.snapshot import notes
from conductor.snapshot.services import CheckOutcome, ReplicaRow, ServiceCondition, ServiceRow, document, service_rows
from conductor.state.crontabs import Crontabs
from conductor.state.files import write
from conductor.state.history import History
from conductor.state.locks import Locks
from conductor.state.store import Store
from conductor.state.supervisor_status import SUPERVISE_LOCK, ServiceStatus, SupervisorStatus, status_path
from tests.fakes.traffic import FakeTraffic

WEB = "{image: x, port: 80, count: 2, health: {path: /}, nginx: {}, env: {KEY: {file: %s}}}"
SECRET = "line-one-of-key\nline'two-of-\"key"
HOLD = Hold(reason="a move", who="anna (as root)", since="2026-01-01T00:00:00.000Z")


class Host:
    """Definitions, state and replicas of a test. `results` are the failed checks, by the name of the replica."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "key").write_text(SECRET)
        self.define(web=WEB % (directory / "key"), other=WEB % (directory / "key"))
        self.store = Store(directory / "state")
        self.locks = Locks(directory / "locks", "service upgrade", Clock(), SignalCancellation())
        self.traffic = FakeTraffic()
        self.replicas: list[Replica] = []
        self.images = {"sha256:1": Image(id="sha256:1", digest="")}
        self.results: dict[str, CheckResult] = {}

    def define(self, **services: str) -> None:
        lines = "".join(f"  {name}: {text}\n" for name, text in services.items())
        (self.directory / "services.yml").write_text(f"version: 1\nservices:\n{lines}")
        self.definitions = load(self.directory / "services.yml")

    def deploy(self, service: str, count: int, **wanted: Any) -> None:
        live = new_release(self.definitions.services[service], "r1", "sha256:1", "u1")
        self.store.write_wanted(Wanted(service=service, release=live, **wanted))
        self.replicas += [replica(service, number) for number in range(count)]

    def check(self, one: Replica, _health: Health, redact: Callable[[str], str]) -> CheckResult:
        result = self.results.get(one.name, CheckResult(ok=True, seconds=0.0, status=200))
        return msgspec.structs.replace(result, output=redact(result.output), error=redact(result.error))

    def rows(self, only: str | None = None) -> dict[str, ServiceRow]:
        found = tuple(one for one in self.replicas if only in {None, one.service})
        context = Context(
            host=msgspec.structs.replace(self.definitions.host, runtime_dir=str(self.directory)),
            runtime=SimpleNamespace(containers=lambda _only: Containers(found, ()), image=self.images.get),  # type: ignore[arg-type]
            traffic=self.traffic,
            health=self,
            store=self.store,
            history=History(self.directory / "state"),
            locks=self.locks,
            crontabs=Crontabs(str(self.directory)),
            output=NoOutput(),
            clock=Clock(),
            cancellation=SignalCancellation(),
            config=self.definitions.path,
            command="service status",
        )
        return {row.service: row for row in service_rows(self.definitions, context, only)}


def replica(service: str, number: int, **fields: Any) -> Replica:
    values: dict[str, Any] = {
        "id": f"id-{service}{number}", "name": f"{service}{number}", "service": service, "revision": "r1",
        "release": "u1", "change": "u1", "address": f"10.0.0.{number}:80", "state": "running",
    }  # fmt: skip
    return Replica(**{**values, **fields})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_healthy_service_and_one_that_was_never_deployed(host: Host) -> None:
    host.deploy("web", 2)
    rows = host.rows()
    assert list(rows) == ["web", "other"]
    web, other = rows.values()
    assert (web.condition, web.wanted, web.running, web.healthy, web.notes) == (ServiceCondition.OK, 2, 2, 2, ())
    assert web.replicas[0] == ReplicaRow(
        id="id-web0", name="web0", node="local", revision="r1", endpoint="10.0.0.0:80", state="running",
        health=CheckOutcome.HEALTHY,
    )  # fmt: skip
    assert (other.condition, other.revision) == (ServiceCondition.NEVER_DEPLOYED, None)


@pytest.mark.parametrize(("running", "condition"), [(1, ServiceCondition.MISSING), (3, ServiceCondition.SURPLUS)])
def test_another_number_of_replicas(host: Host, running: int, condition: ServiceCondition) -> None:
    host.deploy("web", running)
    row = host.rows()["web"]
    assert (row.condition, row.wanted, row.running) == (condition, 2, running)


def test_an_exited_replica_is_not_running_and_is_not_checked(host: Host) -> None:
    host.deploy("web", 1)
    host.replicas.append(replica("web", 1, state="exited"))
    row = host.rows()["web"]
    assert (row.condition, row.running) == (ServiceCondition.MISSING, 1)
    assert [one.health for one in row.replicas] == [CheckOutcome.HEALTHY, CheckOutcome.NOT_CHECKED]


def test_a_failed_check_is_shown_without_secrets(host: Host) -> None:
    host.deploy("web", 2)
    host.results["web1"] = CheckResult(ok=False, seconds=0.0, status=500, output=f"the key is {SECRET}, see")
    row = host.rows()["web"]
    assert (row.condition, row.running, row.healthy) == (ServiceCondition.UNHEALTHY, 2, 1)
    assert (row.replicas[0].health, row.replicas[0].answer) == (CheckOutcome.HEALTHY, "")
    assert (row.replicas[1].health, row.replicas[1].answer) == (
        CheckOutcome.UNHEALTHY,
        "status 500 'the key is [secret], see'",
    )
    host.results["web1"] = CheckResult(
        ok=False, seconds=0.0, error="sh exited with code 1", output="x line'two-of-\"key"
    )
    assert host.rows()["web"].replicas[1].answer == "sh exited with code 1: x [secret]"


def test_a_check_that_cannot_be_made_is_not_healthy(host: Host) -> None:
    host.deploy("web", 2)
    host.results["web1"] = CheckResult(ok=False, seconds=0.0, error="Docker does not answer", unknown=True)
    row = host.rows()["web"]
    assert (row.condition, row.healthy, row.replicas[1].health) == (ServiceCondition.UNHEALTHY, 1, CheckOutcome.UNKNOWN)


def test_replicas_are_checked_by_the_live_release_when_the_definition_is_invalid(host: Host) -> None:
    host.deploy("web", 2)
    host.define(web="{image: x, cont: 2}", other=WEB % (host.directory / "key"))
    row = host.rows()["web"]
    assert (row.condition, row.healthy) == (ServiceCondition.INVALID_DEFINITION, 2)
    (note,) = row.notes
    assert isinstance(note, notes.InvalidDefinition)
    assert "services.yml:3: services.web" in note.problem


@pytest.mark.parametrize("only", [None, "web"])
def test_a_damaged_state_file_concerns_only_its_service(host: Host, only: str | None) -> None:
    host.deploy("web", 1)
    (host.directory / "state/services/web.json").write_text("{")
    rows = host.rows(only)
    assert (rows["web"].condition, len(rows["web"].replicas)) == (ServiceCondition.DAMAGED_STATE, 1)
    (note,) = rows["web"].notes
    assert isinstance(note, notes.DamagedState)
    assert f"{host.directory}/state/services/web.json" in note.error
    assert only or rows["other"].condition is ServiceCondition.NEVER_DEPLOYED


def store_definition(host: Host, **keys: object) -> None:
    """Change the stored definition of the live release of `web`, as another version of Conductor could have stored it."""
    wanted = host.store.wanted("web")
    release = msgspec.structs.replace(wanted.live, definition={**wanted.live.definition, **keys})
    host.store.write_wanted(msgspec.structs.replace(wanted, release=release))


def test_a_release_of_a_newer_version_works_without_its_unknown_keys(host: Host) -> None:
    host.deploy("web", 2)
    store_definition(host, redirect=True)
    row = host.rows()["web"]
    assert (row.condition, row.healthy) == (ServiceCondition.OK, 2)
    assert notes.UnknownKeys(keys=("services.web.redirect",)) in row.notes


def test_a_missing_image_is_a_note(host: Host) -> None:
    host.deploy("web", 2)
    host.images.clear()
    assert host.rows()["web"].notes == (notes.MissingImage(image="x:r1"),)


def test_a_release_that_cannot_be_read_is_not_ok(host: Host) -> None:
    host.deploy("web", 2)
    store_definition(host, port="http")
    row = host.rows()["web"]
    assert row.condition is ServiceCondition.DAMAGED_STATE
    assert isinstance(row.notes[0], notes.DamagedState)


def test_a_damaged_journal_is_a_note(host: Host) -> None:
    host.deploy("web", 2)
    (host.directory / "state/journal").mkdir()
    (host.directory / "state/journal/web.json").write_text("{")
    row = host.rows()["web"]
    assert row.condition is ServiceCondition.OK
    (note,) = row.notes
    assert isinstance(note, notes.DamagedState)
    assert "journal/web.json" in note.error


def test_an_interrupted_change_and_one_in_progress_are_notes(host: Host) -> None:
    host.deploy("web", 2)
    wanted = host.store.wanted("web")
    host.store.write_journal(
        Journal(change="u2", service="web", action="restart", command="", who="", began="now", old=wanted, new=wanted)
    )
    assert host.rows()["web"].notes == (notes.Interrupted(action="restart", revision="r1", began="now"),)
    with host.locks.hold("web"):
        (note,) = host.rows()["web"].notes
    assert isinstance(note, notes.Busy)
    assert (note.pid, note.command) == (os.getpid(), "service upgrade")


def test_a_changed_definition_and_other_replicas_are_notes(host: Host) -> None:
    host.deploy("web", 2)
    host.replicas.append(replica("web", 2, release="u0", change="u0"))
    host.define(web=WEB.replace("port: 80", "port: 81") % (host.directory / "key"), other="{image: x}")
    row = host.rows()["web"]
    assert (row.condition, row.notes) == (ServiceCondition.OK, (notes.Drifted(), notes.Stray(names=("web2",))))


def test_an_undefined_service_is_shown_while_something_is_left_of_it(host: Host) -> None:
    host.deploy("web", 2)
    host.define(other=WEB % (host.directory / "key"))
    rows = host.rows()
    assert list(rows) == ["other", "web"]
    assert (rows["web"].condition, rows["web"].running, rows["web"].healthy) == (ServiceCondition.UNDEFINED, 2, 2)
    assert host.rows("web") == {"web": rows["web"]}
    with pytest.raises(UsageError):
        host.rows("wep")


def test_stopped_and_scaled_by_an_operator(host: Host) -> None:
    host.deploy("web", 0, stopped=HOLD)
    host.deploy("other", 3, scale=3)
    web, other = host.rows().values()
    assert (web.condition, web.stopped, web.notes) == (ServiceCondition.STOPPED, HOLD, (notes.Stopped(hold=HOLD),))
    assert (other.condition, other.scale, other.notes) == (
        ServiceCondition.OK,
        3,
        (notes.Scaled(service="other", count=3, defined=2),),
    )


WAITING = ServiceStatus(
    reason=Mismatch(wanted=2, healthy=1), text="1 of 2 healthy", until="2026-01-01T00:00:00Z", attempts=3
)


@pytest.mark.parametrize("runs", [True, False], ids=["supervise is running", "supervise is not running"])
def test_the_status_of_supervise(host: Host, runs: bool) -> None:
    host.deploy("web", 1)
    write_status(host, web=WAITING, other=ServiceStatus(reason=NeverDeployed(), text="never deployed"))
    with host.locks.hold(SUPERVISE_LOCK) if runs else contextlib.nullcontext():
        rows = host.rows()
    assert rows["web"].notes == ((notes.Supervise(status=WAITING),) if runs else ())
    assert rows["other"].notes == ()


def write_status(host: Host, **services: ServiceStatus) -> None:
    write(status_path(str(host.directory)), SupervisorStatus(pid=os.getpid(), since="", text="", services=services))


def test_a_pause_ends(host: Host) -> None:
    over = msgspec.structs.replace(HOLD, until="2026-01-01T01:00:00.000Z")
    host.deploy("web", 2, paused=over)
    assert (host.rows()["web"].paused, host.rows()["web"].notes) == (None, ())
    lasting = msgspec.structs.replace(HOLD, until="9999-01-01T01:00:00.000Z")
    host.deploy("web", 0, paused=lasting)
    write_status(host, web=WAITING)
    with host.locks.hold(SUPERVISE_LOCK):
        row = host.rows()["web"]
    assert (row.paused, row.notes) == (lasting, (notes.Paused(hold=lasting),))


def test_the_json_document(host: Host) -> None:
    host.deploy("web", 1, stopped=HOLD)
    host.define(web=WEB % (host.directory / "key"))
    whole = json.loads(as_document(document(list(host.rows().values()))))
    hold = {"reason": "a move", "who": "anna (as root)", "since": "2026-01-01T00:00:00.000Z", "until": None}
    assert whole == {
        "version": 1,
        "services": [
            {
                "service": "web",
                "revision": "r1",
                "wanted": 0,
                "running": 1,
                "healthy": 1,
                "condition": "surplus",
                "scale": None,
                "stopped": hold,
                "paused": None,
                "notes": [{"kind": "stopped", "hold": hold, "text": notes.Stopped(hold=HOLD).describe()}],
                "replicas": [
                    {
                        "id": "id-web0",
                        "name": "web0",
                        "node": "local",
                        "revision": "r1",
                        "endpoint": "10.0.0.0:80",
                        "state": "running",
                        "health": "healthy",
                        "answer": "",
                    }
                ],
            }
        ],
    }


def test_a_service_behind_a_traffic_layer_that_is_down_is_not_ok(host: Host) -> None:
    web = WEB % (host.directory / "key")
    host.define(web=web, worker="{image: x, health: {none: true}}", idle=web)
    host.deploy("web", 2)
    host.deploy("worker", 1)
    host.deploy("idle", 0, scale=0)
    host.traffic.running = False
    rows = host.rows()
    assert (rows["web"].condition, rows["web"].notes) == (ServiceCondition.TRAFFIC_DOWN, (notes.TrafficDown(),))
    assert [rows[one].condition for one in ("worker", "idle")] == [ServiceCondition.OK] * 2
    host.replicas.pop(0)
    row = host.rows()["web"]
    assert (row.condition, row.notes) == (ServiceCondition.MISSING, (notes.TrafficDown(),))


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (ServiceCondition.DAMAGED_STATE, "damaged state"),
        (ServiceCondition.UNDEFINED, "not defined"),
        (ServiceCondition.INVALID_DEFINITION, "invalid definition"),
        (ServiceCondition.NEVER_DEPLOYED, "never deployed"),
        (ServiceCondition.MISSING, "2 missing"),
        (ServiceCondition.SURPLUS, "-2 too many"),
        (ServiceCondition.UNHEALTHY, "1 of 2 healthy"),
        (ServiceCondition.TRAFFIC_DOWN, "nginx is not running"),
        (ServiceCondition.STOPPED, "stopped"),
        (ServiceCondition.OK, "ok"),
    ],
)
def test_texts_of_conditions(condition: ServiceCondition, text: str) -> None:
    assert ServiceRow(service="web", wanted=4, running=2, healthy=1, condition=condition).describe() == text


@pytest.mark.parametrize(
    ("health", "answer", "text"),
    [
        (CheckOutcome.HEALTHY, "", "healthy"),
        (CheckOutcome.UNHEALTHY, "status 500", "status 500"),
        (CheckOutcome.UNKNOWN, "Docker does not answer", "Docker does not answer"),
        (CheckOutcome.NOT_CHECKED, "", "-"),
    ],
)
def test_texts_of_health(health: CheckOutcome, answer: str, text: str) -> None:
    row = ReplicaRow(id="", name="", node="", revision="", endpoint=None, state="running", health=health, answer=answer)
    assert row.describe() == text


UNTIL = msgspec.structs.replace(HOLD, reason="", until="2026-01-01T01:00:00.000Z")


@pytest.mark.parametrize(
    ("note", "text"),
    [
        (
            notes.UnknownKeys(keys=("services.a.b", "services.a.c")),
            "this version of Conductor ignores keys of the live release: services.a.b, services.a.c",
        ),
        (
            notes.MissingImage(image="shop:r1"),
            "its image shop:r1 is missing: tasks and cron jobs fail if it cannot be pulled; run docker pull shop:r1",
        ),
        (notes.InvalidDefinition(problem="a.yml:3: x"), "its definition is invalid: a.yml:3: x"),
        (notes.DamagedState(error="cannot read x", hint="restore it"), "cannot read x; restore it"),
        (notes.DamagedState(error="cannot read x", hint=""), "cannot read x"),
        (notes.Stopped(hold=HOLD), "stopped by anna (as root) at 2026-01-01T00:00:00.000Z: a move"),
        (
            notes.Paused(hold=UNTIL),
            "supervision paused by anna (as root) at 2026-01-01T00:00:00.000Z until 2026-01-01T01:00:00.000Z",
        ),
        (
            notes.Scaled(service="web", count=3, defined=2),
            "scaled to 3 by an operator (defined: 2); to undo this, run conductor service scale --id web --reset",
        ),
        (
            notes.Scaled(service="web", count=3, defined=None),
            "scaled to 3 by an operator; to undo this, run conductor service scale --id web --reset",
        ),
        (
            notes.Busy(pid=7, command="service stop --id web", since="now"),
            "busy: process 7 (service stop --id web) has held its lock since now",
        ),
        (
            notes.Interrupted(action="upgrade", revision="r2", began="now"),
            "the upgrade to r2, started now, was interrupted; the next command on this service will recover it",
        ),
        (
            notes.Drifted(),
            "drifted: the definition has changed since the release; upgrade or restart the service to apply it",
        ),
        (
            notes.TrafficDown(),
            "nginx is not running, so no request reaches the service; run systemctl start nginx",
        ),
        (notes.Stray(names=("a", "b")), "containers that are not of the live release: a, b"),
        (notes.Supervise(status=WAITING), f"supervise: {WAITING}"),
    ],
)
def test_texts_of_notes(note: notes.Note, text: str) -> None:
    assert note.describe() == text
