"""`service list` and `service status`: a problem of one service is shown in its own row, and only a healthy one is ok."""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from conductor.cancellation import SignalCancellation
from conductor.change.context import Context
from conductor.change.release_files import environment_digest
from conductor.clock import Clock
from conductor.cron.installed import HEADER, job_key
from conductor.cron.table import parse
from conductor.cron.wrap import wrap
from conductor.definitions.environment import environment
from conductor.definitions.load import load
from conductor.definitions.model import Health
from conductor.errors import UsageError
from conductor.output.printers import NoOutput
from conductor.output.tables import as_document
from conductor.plan.journal import Journal
from conductor.plan.reason import Busy, Mismatch, NeverDeployed, Unreadable
from conductor.plan.reconcile import Condition
from conductor.plan.release import Hold, Image, Maintenance, Wanted
from conductor.plan.replica import CheckResult, Containers, Replica
from conductor.plan.route import TrafficState
from conductor.plan.tasks import KEEPS_FAILING, JobResult
from conductor.plan.transition import Drift, new_release
from conductor.snapshot import notes
from conductor.snapshot.rows import CheckOutcome, ReplicaRow, ServiceCondition, ServiceRow, document, table
from conductor.snapshot.services import service_rows
from conductor.state.crontabs import Crontabs
from conductor.state.files import write
from conductor.state.history import History
from conductor.state.locks import Locks
from conductor.state.store import Store
from conductor.state.supervisor_status import (
    SUPERVISE_LOCK,
    ReplicaStatus,
    ServiceStatus,
    SupervisorStatus,
    status_path,
)
from tests.fakes.traffic import FakeTraffic

WEB = "{image: x, port: 80, count: 2, health: {path: /}, nginx: {}, env: {KEY: {file: %s}}}"
SECRET = "line-one-of-key\nline'two-of-\"key"
STOPPED_TEXT = (
    "stopped by anna (as root) at 2026-01-01T00:00:00Z: a move; to start it, run conductor service start --id web"
)
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
        self.cron_command = sys.executable

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

    def rows(self, only: str | None = None, *, probe: bool = False) -> dict[str, ServiceRow]:
        found = tuple(one for one in self.replicas if only in {None, one.service})
        context = Context(
            host=msgspec.structs.replace(
                self.definitions.host,
                runtime_dir=str(self.directory),
                cron=msgspec.structs.replace(self.definitions.host.cron, command=self.cron_command),
            ),
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
        return {row.service: row for row in service_rows(self.definitions, context, only, probe=probe)}


def replica(service: str, number: int, **fields: Any) -> Replica:
    values: dict[str, Any] = {
        "id": f"id-{service}{number}", "name": f"{service}{number}", "service": service, "revision": "r1",
        "release": "u1", "change": "u1", "address": f"10.0.0.{number}:80", "state": "running",
        "created": 1767225600.0,
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
        created="2026-01-01T00:00:00.000Z", health=CheckOutcome.HEALTHY,
    )  # fmt: skip
    assert (other.condition, other.revision) == (ServiceCondition.NEVER_DEPLOYED, None)


def deploy_from_files(host: Host, digest_key: bytes) -> None:
    """Deploy `web` with a server template, and with the digest of its environment."""
    template = host.directory / "server.j2"
    template.write_text("server {}\n")
    server = f"nginx: {{server: {{listen: ['80'], names: [a.example], template: {template}}}}}"
    host.define(web=(WEB % (host.directory / "key")).replace("nginx: {}", server))
    digest = environment_digest(environment(host.definitions.services["web"].service), digest_key)
    host.deploy("web", 2)
    wanted = host.store.wanted("web")
    release = msgspec.structs.replace(wanted.live, environment=digest, template="server {}\n")
    host.store.write_wanted(msgspec.structs.replace(wanted, release=release))


def test_changed_files_of_the_live_release_are_drift(host: Host) -> None:
    deploy_from_files(host, host.store.make_digest_key())
    assert host.rows()["web"].notes == ()
    (host.directory / "key").write_text("another")
    assert host.rows()["web"].notes == (notes.Drifted(service="web", revision="r1", changed=(Drift.ENVIRONMENT,)),)
    (host.directory / "server.j2").write_text("server { }\n")
    [row] = document(list(host.rows("web").values()))["services"]
    assert row["notes"][0]["kind"] == "drifted"
    assert row["notes"][0]["changed"] == ("environment", "template")
    (host.directory / "key").unlink()
    (host.directory / "server.j2").unlink()
    assert host.rows()["web"].notes == ()
    (host.directory / "key").write_text("another")
    host.replicas.clear()  # the next ones will be started with the new value
    assert host.rows()["web"].notes == (notes.SuperviseDown(service="web"),)


def test_a_digest_of_a_lost_key_is_no_drift(host: Host) -> None:
    deploy_from_files(host, b"lost")
    host.store.make_digest_key()
    assert host.rows()["web"].notes == ()


@pytest.mark.parametrize(("running", "condition"), [(1, ServiceCondition.MISSING), (3, ServiceCondition.SURPLUS)])
def test_another_number_of_replicas(host: Host, running: int, condition: ServiceCondition) -> None:
    host.deploy("web", running)
    row = host.rows()["web"]
    assert (row.condition, row.wanted, row.running) == (condition, 2, running)


def test_missing_replicas_without_supervise_have_a_note_with_what_to_do(host: Host) -> None:
    host.deploy("web", 1)
    assert host.rows()["web"].notes == (notes.SuperviseDown(service="web"),)
    assert host.rows()["other"].notes == ()  # it was never deployed
    supervise = Locks(host.directory / "locks", "supervise", Clock(), SignalCancellation())
    with supervise.hold(SUPERVISE_LOCK):
        assert host.rows()["web"].notes == ()


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
    host.results["web1"] = CheckResult(ok=False, seconds=0.0, error="Docker is not responding", unknown=True)
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


def test_a_missing_image_needs_attention(host: Host) -> None:
    host.deploy("web", 2)
    host.images.clear()
    row = host.rows()["web"]
    assert (row.condition, row.notes) == (ServiceCondition.NEEDS_ATTENTION, (notes.MissingImage(image="x:r1"),))
    host.replicas[0] = replica("web", 0, image_id="sha256:1")  # Docker does not remove the image of a running container
    assert host.rows()["web"].condition is ServiceCondition.OK
    host.replicas[0] = replica("web", 0, image_id="sha256:1", state="exited")
    assert notes.MissingImage(image="x:r1") in host.rows()["web"].notes


def test_what_supervise_cannot_read_needs_attention(host: Host) -> None:
    host.deploy("web", 2)
    write_status(host, web=ServiceStatus(reason=Unreadable("cannot read x"), text="cannot read x"))
    with host.locks.hold(SUPERVISE_LOCK):
        assert host.rows()["web"].condition is ServiceCondition.NEEDS_ATTENTION


def test_a_release_that_cannot_be_read_is_not_ok(host: Host) -> None:
    host.deploy("web", 2)
    store_definition(host, port="http")
    row = host.rows()["web"]
    assert row.condition is ServiceCondition.DAMAGED_STATE
    assert isinstance(row.notes[0], notes.DamagedState)


def test_a_damaged_journal_is_not_ok(host: Host) -> None:
    host.deploy("web", 2)
    (host.directory / "state/journal").mkdir()
    (host.directory / "state/journal/web.json").write_text("{")
    row = host.rows()["web"]
    assert (row.condition, row.running, row.healthy) == (ServiceCondition.DAMAGED_STATE, 2, 2)
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
    assert (row.condition, row.notes) == (
        ServiceCondition.OK,
        (
            notes.Drifted(service="web", revision="r1", changed=(Drift.DEFINITION,)),
            notes.Stray(names=("web2",), fix="conductor service start --id web"),
        ),
    )


def test_a_changed_image_needs_an_upgrade(host: Host) -> None:
    host.deploy("web", 2)
    host.define(web=WEB.replace("image: x", "image: y") % (host.directory / "key"))
    assert host.rows()["web"].notes == (notes.Drifted(service="web", revision="r1", changed=(Drift.IMAGE,)),)


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
    assert (web.condition, web.stopped, web.notes) == (
        ServiceCondition.STOPPED,
        HOLD,
        (notes.Stopped(service="web", hold=HOLD),),
    )
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
    assert rows["web"].notes == ((notes.Supervise(status=WAITING) if runs else notes.SuperviseDown(service="web")),)
    assert rows["other"].notes == ()


def test_a_service_that_was_busy_for_supervise_has_no_note(host: Host) -> None:
    """Its lock shows whether it still is; the next pass publishes only up to 5 s later."""
    host.deploy("web", 2)
    write_status(host, web=ServiceStatus(reason=Busy(), text="another command is changing the service"))
    with host.locks.hold(SUPERVISE_LOCK):
        assert host.rows()["web"].notes == ()


@pytest.mark.parametrize("age", [0.0, 60.0], ids=["fresh", "old"])
def test_while_supervise_runs_its_last_checks_are_shown(host: Host, age: float) -> None:
    """A replica that it has not checked, and all of them when its file is old, are checked now."""
    host.deploy("web", 3)
    published = {
        "id-web0": ReplicaStatus(condition=Condition.UNHEALTHY, answer="status 500"),
        "id-web1": ReplicaStatus(condition=Condition.STARTING),
    }
    path = status_path(str(host.directory))
    write(path, SupervisorStatus(pid=os.getpid(), since="", text="", replicas=published))
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    with host.locks.hold(SUPERVISE_LOCK):
        shown = [(one.health, one.answer) for one in host.rows()["web"].replicas]
        probed = [one.health for one in host.rows(probe=True)["web"].replicas]
    if age:
        assert shown == [(CheckOutcome.HEALTHY, "")] * 3
    else:
        assert shown == [
            (CheckOutcome.UNHEALTHY, "status 500"),
            (CheckOutcome.STARTING, ""),
            (CheckOutcome.HEALTHY, ""),
        ]
    assert probed == [CheckOutcome.HEALTHY] * 3


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
    assert (row.condition, row.paused) == (ServiceCondition.PAUSED, lasting)
    assert row.notes == (notes.Paused(service="web", hold=lasting),)


def test_a_maintenance(host: Host) -> None:
    """Its page is not shown."""
    maintenance = Maintenance(**msgspec.structs.asdict(HOLD), template="<p>")
    host.deploy("web", 2, maintenance=maintenance)
    row = host.rows()["web"]
    assert (row.condition, row.maintenance) == (ServiceCondition.MAINTENANCE, HOLD)
    assert row.notes == (notes.InMaintenance(service="web", hold=HOLD),)
    assert "<p>" not in as_document(document([row]))
    host.replicas.pop()
    assert host.rows()["web"].condition is ServiceCondition.MISSING


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
                "maintenance": None,
                "notes": [{"kind": "stopped", "service": "web", "hold": hold, "text": STOPPED_TEXT}],
                "replicas": [
                    {
                        "id": "id-web0",
                        "name": "web0",
                        "node": "local",
                        "revision": "r1",
                        "endpoint": "10.0.0.0:80",
                        "state": "running",
                        "created": "2026-01-01T00:00:00.000Z",
                        "health": "healthy",
                        "answer": "",
                    }
                ],
            }
        ],
    }


def test_a_crontab_that_was_deleted_by_hand_needs_attention(host: Host) -> None:
    host.deploy("web", 2)
    wanted = host.store.wanted("web")
    with_crontab = msgspec.structs.replace(wanted.live, crontab="# daily\n0 5 * * * bin/a\n0 6 * * * bin/b\n")
    host.store.write_wanted(msgspec.structs.replace(wanted, release=with_crontab))
    path = host.directory / "conductor-web"
    row = host.rows()["web"]
    assert row.condition is ServiceCondition.NEEDS_ATTENTION
    assert row.notes == (notes.MissingCrontab(service="web", path=str(path), jobs=2),)
    path.write_text(f"{HEADER} web r1\n")
    assert host.rows()["web"].notes == ()
    path.unlink()
    for change in ({"stopped": HOLD}, {"crontab_removed": True}, {"release": wanted.live}):
        host.store.write_wanted(msgspec.structs.replace(wanted, **{"release": with_crontab, **change}))
        assert not any(isinstance(note, notes.MissingCrontab) for note in host.rows()["web"].notes), change
    host.store.write_wanted(msgspec.structs.replace(wanted, release=with_crontab))
    with host.locks.hold("web"):
        (note,) = host.rows()["web"].notes
    assert isinstance(note, notes.Busy)


@pytest.fixture
def with_jobs(host: Host) -> Host:
    """The crontab of web has two jobs, the second one in two lines."""
    host.deploy("web", 2)
    table = parse("0 5 * * * bin/a\n0 6 * * * bin/b\n0 18 * * * bin/b\n")
    text = wrap(table, service="web", revision="r1", program="/usr/local/bin/conductor", config=None)
    (host.directory / "conductor-web").write_text(text)
    return host


def fail_job(host: Host, command: str, failures: int) -> None:
    host.store.write_job(JobResult(service="web", job=job_key(command), exit_code=1, failures=failures))


def test_a_cron_job_that_keeps_failing_needs_attention(with_jobs: Host) -> None:
    fail_job(with_jobs, "bin/a", KEEPS_FAILING - 1)
    assert with_jobs.rows()["web"].condition is ServiceCondition.OK
    fail_job(with_jobs, "bin/b", KEEPS_FAILING)
    row = with_jobs.rows()["web"]
    assert row.condition is ServiceCondition.NEEDS_ATTENTION
    assert row.notes == (notes.FailingJobs(service="web", commands=("bin/b",)),)
    assert row.describe() == "needs attention: 1 cron job keeps failing"
    damaged = with_jobs.directory / "state" / "jobs" / "web" / f"{job_key('bin/b')}.json"
    damaged.write_text("{")  # `cron list` shows it
    assert with_jobs.rows()["web"].condition is ServiceCondition.OK


def test_cron_jobs_whose_program_is_missing_need_attention(with_jobs: Host) -> None:
    with_jobs.cron_command = "/nonexistent/conductor"
    row = with_jobs.rows()["web"]
    assert row.condition is ServiceCondition.NEEDS_ATTENTION
    (note,) = row.notes
    assert isinstance(note, notes.CronCommandMissing)
    assert note.problem.startswith("/nonexistent/conductor is not an executable file")
    (with_jobs.directory / "conductor-web").unlink()
    assert with_jobs.rows()["web"].notes == ()


def test_a_traffic_layer_without_conductors_files_is_not_called_down(host: Host) -> None:
    host.deploy("web", 2)
    host.traffic.loaded = False
    row = host.rows()["web"]
    assert (row.condition, row.notes) == (ServiceCondition.TRAFFIC_DOWN, (notes.TrafficNotLoaded(),))
    assert row.describe() == "nginx does not use Conductor's files"


def test_a_traffic_layer_that_does_not_answer_is_not_called_down(host: Host) -> None:
    host.deploy("web", 2)
    host.traffic.answering = False
    row = host.rows()["web"]
    assert (row.condition, row.notes) == (ServiceCondition.TRAFFIC_DOWN, (notes.TrafficNotAnswering(),))
    assert row.describe() == "nginx is not responding"


@pytest.mark.parametrize(
    ("wanted", "fix"),
    [
        ({}, "conductor service start --id web"),
        ({"stopped": HOLD}, "conductor service stop --id web"),
    ],
)
def test_the_fix_for_a_stray_container(host: Host, wanted: dict[str, Any], fix: str) -> None:
    """Nothing else of the service changes: a stopped one stays stopped."""
    host.deploy("web", 0)
    host.store.write_wanted(msgspec.structs.replace(host.store.wanted("web"), **wanted))
    host.replicas.append(replica("web", 9, release="u0"))
    assert notes.Stray(names=("web9",), fix=fix) in host.rows()["web"].notes
    with host.locks.hold("web"):  # they may be those of the change
        assert not any(isinstance(note, notes.Stray) for note in host.rows()["web"].notes)


def test_containers_of_a_service_whose_state_is_missing_are_to_be_kept(host: Host) -> None:
    """An unmounted state directory is no reason to remove what serves requests."""
    host.replicas += [replica("web", 1, revision="r1"), replica("web", 2, revision="r2", created=1767225601.0)]
    host.replicas.append(replica("gone", 3))
    rows = host.rows()
    state_dir = host.definitions.host.state_dir
    fix = "conductor service upgrade --id web --revision r2"
    note = notes.Unrecorded(service="web", names=("web1", "web2"), state_dir=state_dir, fix=fix)
    assert (rows["web"].condition, rows["web"].notes) == (ServiceCondition.NEEDS_ATTENTION, (note,))
    removal = "docker rm -f gone3"  # no command of Conductor can change an undefined service without a release
    lost = notes.Unrecorded(service="gone", names=("gone3",), state_dir=state_dir, fix=removal)
    assert (rows["gone"].condition, rows["gone"].notes) == (ServiceCondition.UNDEFINED, (lost,))
    assert rows["other"].condition is ServiceCondition.NEVER_DEPLOYED
    with host.locks.hold("web"):  # a first deploy
        assert host.rows()["web"].condition is ServiceCondition.NEVER_DEPLOYED


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
    host.traffic.installed = False
    assert host.rows()["web"].condition is ServiceCondition.TRAFFIC_DOWN
    host.replicas.pop(0)
    row = host.rows()["web"]
    assert row.condition is ServiceCondition.MISSING
    assert row.notes == (notes.TrafficDown(state=TrafficState.FILES_MISSING), notes.SuperviseDown(service="web"))


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
        (ServiceCondition.NEEDS_ATTENTION, "needs attention"),
        (ServiceCondition.STOPPED, "stopped"),
        (ServiceCondition.MAINTENANCE, "in maintenance since 2026-01-01T00:00:00Z, started by anna (as root)"),
        (ServiceCondition.OK, "ok"),
    ],
)
def test_texts_of_conditions(condition: ServiceCondition, text: str) -> None:
    maintenance = HOLD if condition is ServiceCondition.MAINTENANCE else None
    row = ServiceRow(service="web", wanted=4, running=2, healthy=1, condition=condition, maintenance=maintenance)
    assert row.describe() == text


@pytest.mark.parametrize(
    ("condition", "holds", "text"),
    [
        (ServiceCondition.PAUSED, {"paused": HOLD}, "paused"),
        (ServiceCondition.MISSING, {"paused": HOLD}, "2 missing, paused"),
        (ServiceCondition.STOPPED, {"stopped": HOLD, "paused": HOLD}, "stopped, paused"),
        (ServiceCondition.SURPLUS, {"stopped": HOLD}, "-2 too many, stopped"),
        (ServiceCondition.UNHEALTHY, {"maintenance": HOLD}, "1 of 2 healthy, in maintenance"),
        (ServiceCondition.NEEDS_ATTENTION, {"maintenance": HOLD, "paused": HOLD},
            "needs attention, in maintenance, paused"),
    ],
)  # fmt: skip
def test_the_text_of_a_condition_has_what_an_operator_set(
    condition: ServiceCondition, holds: dict[str, Hold], text: str
) -> None:
    row = ServiceRow(service="web", wanted=4, running=2, healthy=1, condition=condition, **holds)
    assert row.describe() == text


def test_the_list_counts_healthy_replicas_and_shows_a_pause_beside_another_condition(host: Host) -> None:
    host.deploy("web", 2, paused=HOLD)
    host.results["web1"] = CheckResult(ok=False, seconds=0.0, status=503)
    host.deploy("other", 1, paused=HOLD)
    rows = host.rows()
    assert table(list(rows.values())) == [
        ("SERVICE", "REVISION", "HEALTHY", "CONDITION"),
        ("web", "r1", "1/2", rows["web"].describe()),
        ("other", "r1", "1/2", rows["other"].describe()),
    ]
    found = [(one.condition, one.paused, one.running) for one in rows.values()]
    assert found == [(ServiceCondition.UNHEALTHY, HOLD, 2), (ServiceCondition.MISSING, HOLD, 1)]


@pytest.mark.parametrize(
    ("health", "answer", "text"),
    [
        (CheckOutcome.HEALTHY, "", "healthy"),
        (CheckOutcome.UNHEALTHY, "status 500", "status 500"),
        (CheckOutcome.UNKNOWN, "Docker is not responding", "Docker is not responding"),
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
        (notes.Stopped(service="web", hold=HOLD), STOPPED_TEXT),
        (
            notes.Paused(service="web", hold=UNTIL),
            (
                "supervision paused by anna (as root) at 2026-01-01T00:00:00Z until 2026-01-01T01:00:00Z; "
                "to end the pause, run conductor supervise resume --id web"
            ),
        ),
        (
            notes.InMaintenance(service="web", hold=HOLD),
            (
                "put into maintenance by anna (as root) at 2026-01-01T00:00:00Z: a move; nginx returns 503; to end maintenance, "
                "run conductor service maintenance --id web off"
            ),
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
            "busy: process 7 (service stop --id web) has held this service's lock since now",
        ),
        (
            notes.Interrupted(action="upgrade", revision="r2", began="now"),
            "the upgrade to r2, which started at now, was interrupted; supervise or the next command on this service will recover it",
        ),
        (
            notes.Interrupted(action="scale", revision="r2", began="now"),
            "the scaling, which started at now, was interrupted; supervise or the next command on this service will recover it",
        ),
        (
            notes.Drifted(service="web", revision="r1", changed=(Drift.DEFINITION,)),
            (
                "drifted: the definition changed after the last deploy; "
                "to apply the changes, run conductor service restart --id web"
            ),
        ),
        (
            notes.Drifted(service="web", revision="r1", changed=(Drift.ENVIRONMENT, Drift.TEMPLATE)),
            (
                "drifted: the contents of secret or env files and the server template changed after the last deploy; "
                "to apply the changes, run conductor service restart --id web"
            ),
        ),
        (
            notes.Drifted(service="web", revision="r1", changed=(Drift.IMAGE,)),
            (
                "drifted: the image in the definition changed after the last deploy; "
                "to apply the changes, run conductor service upgrade --id web --revision r1"
            ),
        ),
        (
            notes.TrafficDown(),
            "nginx is not running, so no requests reach the service; run systemctl start nginx",
        ),
        (
            notes.TrafficDown(state=TrafficState.FILES_MISSING),
            (
                "nginx is not running, so no requests reach the service; "
                "run conductor nginx install && systemctl start nginx"
            ),
        ),
        (
            notes.SuperviseDown(service="web"),
            "supervise is not running, so the missing replicas are not started; run conductor service start --id web",
        ),
        (
            notes.TrafficNotLoaded(),
            (
                "nginx is running without Conductor's files, so no requests reach the service; "
                "run conductor nginx install"
            ),
        ),
        (
            notes.TrafficNotAnswering(),
            (
                "nginx is running, but is not responding on Conductor's socket, so requests may fail; look for the cause in "
                "nginx's error log, for example too few worker_connections"
            ),
        ),
        (
            notes.MissingCrontab(service="web", path="/etc/cron.d/conductor-web", jobs=1),
            (
                "its crontab /etc/cron.d/conductor-web is missing, so 1 cron job does not run; "
                "run conductor cron install --id web"
            ),
        ),
        (
            notes.FailingJobs(service="web", commands=("bin/a", "bin/b")),
            "2 cron jobs keep failing: bin/a; bin/b; to see why, run conductor cron list --id web",
        ),
        (
            notes.FailingJobs(service="web", commands=("bin/a",)),
            "1 cron job keeps failing: bin/a; to see why, run conductor cron list --id web",
        ),
        (notes.CronCommandMissing(problem="x is missing"), "x is missing"),
        (
            notes.Stray(names=("a", "b"), fix="conductor service start --id web"),
            "containers that do not belong to the live release: a, b; to remove them, run conductor service start --id web",
        ),
        (
            notes.Unrecorded(service="web", names=("a",), state_dir="/s", fix="conductor x"),
            "/s contains no release of web, but web has containers: a; if the file system that holds /s is not mounted, mount it; otherwise run conductor x",
        ),
        (notes.Retiring(names=("a", "b")), "old replicas that are stopping: a, b"),
        (notes.Supervise(status=WAITING), f"supervise: {WAITING}"),
    ],
)
def test_texts_of_notes(note: notes.Note, text: str) -> None:
    assert note.text == text
