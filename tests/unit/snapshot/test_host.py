"""The snapshot of a host: its facts, what it costs, its JSON document and the schema of that."""

import copy
import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from conductor.change import actions
from conductor.change.crontab import wrapped
from conductor.cron.installed import job_key
from conductor.errors import ConductorError
from conductor.output.tables import as_document
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.reason import Mismatch
from conductor.plan.release import Hold
from conductor.plan.route import TrafficState
from conductor.plan.tasks import KEEPS_FAILING, JobResult
from conductor.snapshot import notes
from conductor.snapshot.host import take_snapshot
from conductor.snapshot.model import CronSnapshot, HostSnapshot, RouteSnapshot, ServiceSnapshot
from conductor.snapshot.past import LastChange
from conductor.snapshot.rows import ServiceList, document
from conductor.snapshot.schemas import schema
from conductor.snapshot.services import service_rows
from conductor.state.files import write
from conductor.state.history import History
from conductor.state.supervisor_status import SUPERVISE_LOCK, ServiceStatus, SupervisorStatus, status_path
from tests.fakes.runtime import MEMORY_BYTES
from tests.fakes.world import WEB, World

HOUR = 3600.0
WORKER = {
    "image": "shop",
    "count": 1,
    "health": {"command": ["true"], "successes": 1},
}  # a check does not advance the clock
SERVICES = {"web": {**WEB, "memory": "512MiB"}, "worker": WORKER, "new": WORKER}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """`web` and `worker` run; the history is on disk."""
    made = World(tmp_path, SERVICES)
    history = History(made.store.directory)
    made.recorder.append = history.append  # type: ignore[method-assign]
    made.upgrade("r1", "web", "worker")
    made.health.failure_seconds = 0.0
    return made


def taken(world: World, only: str | None = None) -> HostSnapshot:
    return take_snapshot(world.definitions, world.context(), only)


def services(world: World) -> dict[str, ServiceSnapshot]:
    return {one.service: one for one in taken(world).services}


def test_a_routed_service(world: World) -> None:
    began = world.clock.wall()
    deployed = world.clock.now()
    world.clock.advance(HOUR)
    web = services(world)["web"]
    assert (web.revision, web.running_revisions, web.deployed, web.restarts) == ("r1", ("r1",), deployed, 0)
    assert web.nginx == RouteSnapshot(state=TrafficState.RUNNING, endpoints=2, running=2)
    assert web.last_change is not None
    change = web.last_change
    assert (change.action, change.outcome, change.from_, change.to) == ("upgrade", Outcome.DONE, None, "r1")
    assert (change.at, bool(change.who), change.seconds is not None) == (deployed, True, True)
    (one, _) = web.replicas
    assert (one.memory, one.memory_limit, one.routed) == (MEMORY_BYTES, 512 * 2**20, True)
    assert one.started is not None
    assert world.clock.seconds(one.started) <= began


def test_a_service_without_nginx_and_one_that_was_never_deployed(world: World) -> None:
    found = services(world)
    worker, new = found["worker"], found["new"]
    assert (worker.nginx, worker.cron, worker.replicas[0].routed, worker.replicas[0].memory_limit) == (None,) * 4
    assert (new.revision, new.deployed, new.last_change, new.nginx, new.replicas) == (None, None, None, None, ())


def test_one_list_of_containers_is_the_only_call_to_the_daemon(world: World) -> None:
    world.runtime.calls.clear()
    taken(world)
    assert [call.method for call in world.runtime.calls] == ["containers"]
    world.perform(actions.stop(""), "worker")
    world.runtime.calls.clear()
    taken(world)
    assert [call.method for call in world.runtime.calls] == ["containers", "image"]  # no replica of worker is running


def test_unknown_values_are_none(world: World) -> None:
    world.runtime.unknown_usage = True
    (one, _) = services(world)["web"].replicas
    assert (one.memory, one.memory_limit, one.started) == (None, None, None)


def test_a_replica_that_has_exited(world: World) -> None:
    world.runtime.exit(world.replicas("worker")[0].id)
    worker = services(world)["worker"]
    (one,) = worker.replicas
    assert (one.state, one.memory, one.started, worker.running_revisions) == ("exited", None, None, ())


def test_requests_to_a_replica_that_has_exited_are_counted_apart(world: World) -> None:
    world.runtime.exit(world.replicas()[0].id)
    web = services(world)["web"]
    assert web.nginx == RouteSnapshot(state=TrafficState.RUNNING, endpoints=2, running=1)
    for one in world.replicas():
        world.runtime.remove(one.id)
    assert services(world)["web"].nginx == RouteSnapshot(state=TrafficState.RUNNING, endpoints=2, running=0)


def test_a_replica_started_again_has_its_latest_start(world: World) -> None:
    (one,) = world.replicas("worker")
    world.runtime.exit(one.id)
    world.clock.advance(HOUR)
    world.runtime.start(one.id)
    (row,) = services(world)["worker"].replicas
    assert row.started == world.clock.now()
    assert row.created < row.started


def test_nginx_that_does_not_answer_and_a_stopped_service(world: World) -> None:
    world.traffic.loaded = False
    assert taken(world).nginx is TrafficState.NOT_LOADED
    assert services(world)["web"].nginx == RouteSnapshot(state=TrafficState.NOT_LOADED, endpoints=2, running=2)
    world.traffic.loaded = True
    world.perform(actions.stop("a move"))
    assert services(world)["web"].nginx == RouteSnapshot(state=TrafficState.RUNNING, endpoints=0, running=0)


def test_in_maintenance_no_replica_gets_requests(world: World) -> None:
    world.perform(actions.maintenance_on("Back at noon."))
    web = services(world)["web"]
    assert web.nginx == RouteSnapshot(state=TrafficState.RUNNING, endpoints=0, running=0)
    assert [one.routed for one in web.replicas] == [False, False]
    assert (web.condition, web.healthy) == ("maintenance", 2)
    world.perform(actions.maintenance_off)
    assert [one.routed for one in services(world)["web"].replicas] == [True, True]


def test_a_damaged_record_of_nginx_concerns_only_the_services_behind_it(world: World) -> None:
    def fails(_service: str) -> frozenset[str]:
        raise ConductorError("cannot read traffic.json", "rm it")

    world.traffic.serving = fails  # type: ignore[method-assign]
    found = services(world)
    assert found["web"].nginx == RouteSnapshot(state=TrafficState.RUNNING, endpoints=None, running=None)
    assert notes.DamagedState(error="cannot read traffic.json", hint="rm it") in found["web"].notes
    assert found["worker"].notes == ()


def entry(world: World, age: float, **fields: Any) -> None:
    """Append an entry of `supervise` that is `age` seconds old."""
    values: dict[str, Any] = {
        "at": world.clock.later(-age), "service": "web", "action": "repair", "outcome": Outcome.DONE,
        "command": "supervise", "change": "c9",
    }  # fmt: skip
    History(world.store.directory).append(HistoryEntry(**{**values, **fields}))


def test_restarts_of_the_last_hour(world: World) -> None:
    world.clock.advance(5 * HOUR)
    entry(world, HOUR + 1)
    entry(world, HOUR - 1)
    entry(world, 30, action="restart-exited")
    entry(world, 20, outcome=Outcome.ROLLED_BACK, reason="unhealthy")
    entry(world, 10, service="worker")
    entry(world, 5, action="pause")
    found = services(world)
    assert (found["web"].restarts, found["worker"].restarts) == (2, 1)
    assert found["web"].last_change == LastChange(
        action="repair", outcome=Outcome.ROLLED_BACK, at=world.clock.later(-20), command="supervise", reason="unhealthy"
    )


def test_a_release_that_the_history_does_not_have(world: World) -> None:
    (world.store.directory / "history.jsonl").unlink()
    web = services(world)["web"]
    assert (web.deployed, web.last_change, web.restarts) == (None, None, 0)


def install_jobs(world: World) -> None:
    """Install a crontab with two jobs, of which one failed."""
    wanted = world.store.wanted("web")
    live = msgspec.structs.replace(wanted.live, crontab="0 5 * * * bin/a\n0 6 * * * bin/b\n")
    world.store.write_wanted(msgspec.structs.replace(wanted, release=live))
    context = world.context()
    context.crontabs.put("web", wrapped(context, live))
    for command, code in (("bin/a", 0), ("bin/b", 3)):
        failures = KEEPS_FAILING * (code > 0)
        result = JobResult(
            service="web", job=job_key(command), began=world.clock.now(), exit_code=code, failures=failures
        )
        world.store.write_job(result)


def test_cron_jobs(world: World) -> None:
    install_jobs(world)
    assert services(world)["web"].cron == CronSnapshot(jobs=2, failing=("bin/b",))


def test_one_service(world: World) -> None:
    assert [one.service for one in taken(world, "worker").services] == ["worker"]


# The schema. Each row changes the healthy host.


def damage(world: World) -> None:
    (world.store.directory / "services/worker.json").write_text("{")


def make_unhealthy(world: World) -> None:
    world.health.unhealthy.add(world.replicas()[0].id)


def hold(world: World) -> None:
    wanted = world.store.wanted("web")
    paused = Hold(reason="a test", who="anna", since=world.clock.now(), until=world.clock.later(60))
    world.store.write_wanted(msgspec.structs.replace(wanted, paused=paused, scale=3))
    world.perform(actions.stop("a move"), "worker")


def no_traffic(world: World) -> None:
    world.traffic.running = False
    world.runtime.exit(world.replicas()[0].id)


def lose_the_crontab(world: World) -> None:
    install_jobs(world)
    (world.directory / "cron/conductor-web").unlink()


def lose_the_cron_command(world: World) -> None:
    world.define(SERVICES, cron={"dir": str(world.directory / "cron"), "command": "/nonexistent/conductor"})
    install_jobs(world)


def drift_and_stray(world: World) -> None:
    world.define({"web": {**WEB, "env": {"A": "2"}}, "worker": {"image": 3}})
    wanted = world.store.wanted("worker")
    another = msgspec.structs.replace(wanted.live, id="another")
    world.store.write_wanted(msgspec.structs.replace(wanted, release=another))


def lose_the_state(world: World) -> None:
    (world.store.directory / "services" / "worker.json").unlink()


STATES: dict[str, Callable[[World], object]] = {
    "healthy": lambda world: None,
    "cron": install_jobs,
    "damaged": damage,
    "unhealthy": make_unhealthy,
    "held": hold,
    "no-traffic": no_traffic,
    "no-crontab": lose_the_crontab,
    "no-cron-command": lose_the_cron_command,
    "drift": drift_and_stray,
    "no-state": lose_the_state,
    "no-usage": lambda world: setattr(world.runtime, "unknown_usage", True),
}


@functools.cache
def validator(kind: type[msgspec.Struct]) -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema(kind))
    return jsonschema.Draft202012Validator(schema(kind))


def check(kind: type[msgspec.Struct], text: str) -> None:
    validator(kind).validate(json.loads(text))


def checked(world: World) -> set[type[notes.Note]]:
    """Check both documents against their schemas; return the kinds of notes in them."""
    snapshot = taken(world)
    check(HostSnapshot, as_document(snapshot))
    check(ServiceList, as_document(document(service_rows(world.definitions, world.context()))))
    return {type(note) for one in snapshot.services for note in one.notes}


def test_the_documents_match_their_schemas(tmp_path: Path) -> None:
    """In states with notes of many kinds, so that the schema is not checked with empty lists only."""
    found: set[type[notes.Note]] = set()
    for name, arrange in STATES.items():
        (tmp_path / name).mkdir()
        world = World(tmp_path / name, SERVICES)
        world.upgrade("r1", "web", "worker")
        world.health.failure_seconds = 0.0
        arrange(world)
        found |= checked(world)
    locks = world.context().locks
    status = ServiceStatus(reason=Mismatch(wanted=2, healthy=1), text="1 of 2", until=world.clock.later(5), attempts=1)
    with locks.hold(SUPERVISE_LOCK), locks.hold("worker"):
        path = status_path(world.definitions.host.runtime_dir)
        write(path, SupervisorStatus(pid=os.getpid(), since="", text="", services={"web": status}))
        found |= checked(world)
    assert found == {
        notes.DamagedState, notes.Stopped, notes.Paused, notes.Scaled, notes.Busy, notes.Drifted, notes.TrafficDown,
        notes.SuperviseDown, notes.MissingCrontab, notes.FailingJobs, notes.CronCommandMissing, notes.Stray, notes.Unrecorded, notes.Supervise, notes.InvalidDefinition,
    }  # fmt: skip


@pytest.mark.parametrize(
    "break_it",
    [
        lambda found: found.pop("services"),
        lambda found: found["services"][1].pop("restarts"),
        lambda found: found["services"][1].update(condition="fine"),
        lambda found: found["services"][1]["replicas"][0].update(memory="50 MiB"),
        lambda found: found["services"][1]["last_change"].update(outcome=None),
        lambda found: found["services"][1].update(notes=[{"kind": "rumour"}]),
    ],
)
def test_the_schema_refuses_another_document(world: World, break_it: Callable[[Any], object]) -> None:
    found = copy.deepcopy(json.loads(as_document(taken(world))))
    break_it(found)
    with pytest.raises(jsonschema.ValidationError):
        check(HostSnapshot, json.dumps(found))


def test_the_status_document_has_all_keys_of_the_list(world: World) -> None:
    listed = json.loads(as_document(document(service_rows(world.definitions, world.context()))))
    status = json.loads(as_document(taken(world)))
    assert listed["version"] == status["version"] == 1
    assert [contains(service, row) for service, row in zip(status["services"], listed["services"], strict=True)] == [
        True
    ] * 3


def contains(more: Any, less: Any) -> bool:
    """Return whether every key of `less`, at any depth, has the same value in `more`."""
    if isinstance(less, dict):
        return all(key in more and contains(more[key], value) for key, value in less.items())
    if isinstance(less, list):
        return len(more) == len(less) and all(map(contains, more, less))
    return bool(more == less)
