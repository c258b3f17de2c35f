"""What `supervise` publishes for `conductor web`: the document, what it costs, and what it must not contain."""

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conductor.change.pause import pause
from conductor.definitions.load import load
from conductor.health.monitor import CheckTotals
from conductor.plan import labels
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.journal import Journal
from conductor.plan.reconcile import Condition
from conductor.snapshot.host import take_snapshot
from conductor.snapshot.model import HostSnapshot, ServiceSnapshot
from conductor.snapshot.published import Published, published_path, without_credentials
from conductor.snapshot.rows import CheckOutcome, ServiceCondition
from conductor.state.history import History
from conductor.supervise.public_snapshot import REFRESH_SECONDS
from conductor.supervise.publisher import encoded
from tests.fakes.world import WEB, WORKER
from tests.unit.supervise.conftest import SupervisedHost

SECRET, VALUE = "correct horse battery staple", "a-value-of-a-variable"


def published(host: SupervisedHost) -> Published:
    host.run_pass(publish=True)
    return msgspec.json.decode(document(host).read_bytes(), type=Published)


def document(host: SupervisedHost) -> Path:
    return published_path(host.definitions.host.runtime_dir)


@pytest.fixture
def on_disk(host: SupervisedHost) -> SupervisedHost:
    """A host whose commands write the history to the disk."""
    history = History(host.store.directory)
    host.recorder.append = history.append  # type: ignore[method-assign]
    return host


def test_the_document_is_that_of_service_status(host: SupervisedHost) -> None:
    host.define({"web": WEB, "new": WORKER})
    found = published(host).status
    locks = host.context().locks
    with locks.hold("supervise.loop"):
        expected = take_snapshot(load(host.directory / "services.yml"), host.context())
    assert msgspec.structs.replace(found, time="", services=()) == msgspec.structs.replace(
        expected, time="", services=()
    )
    web, other = by_id(found)["web"], by_id(expected)["web"]
    assert by_id(found)["new"] == by_id(expected)["new"]
    assert (web.condition, web.wanted, web.healthy, web.nginx) == (ServiceCondition.OK, 2, 2, other.nginx)
    assert [one.id for one in web.replicas] == [one.id for one in other.replicas]


def by_id(status: HostSnapshot) -> dict[str, ServiceSnapshot]:
    return {one.service: one for one in status.services}


def test_it_contains_neither_values_of_variables_nor_secrets(host: SupervisedHost, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "env").write_text(f"TOKEN={SECRET} in the file\n")
    env = {"PLAIN": VALUE, "TOKEN": {"file": str(tmp_path / "secret")}}
    labels = {"note": f"pass {SECRET}"}  # an operator's mistake
    host.define({"web": {**WEB, "env": env, "env_file": str(tmp_path / "env"), "labels": labels}})
    host.upgrade("r2")
    definition = json.loads(published(host).definitions["web"])
    assert definition["env"] == {"PLAIN": "(not shown)", "TOKEN": {"file": str(tmp_path / "secret")}}
    text = document(host).read_text()
    assert SECRET not in text
    assert VALUE not in text


def test_it_contains_no_text_in_which_an_operator_wrote_a_secret(host: SupervisedHost) -> None:
    """Nothing says that these are secrets: they are not in files."""
    host.define({"web": {
        **WEB, "health": {"path": "/", "headers": {"Authorization": f"Bearer {VALUE}"}}, "labels": {"a": VALUE},
        "notify": {"webhook": f"https://hooks.example.com/{VALUE}"}, "logging": {"options": {"env": VALUE}},
        "command": ["app", f"--token={VALUE}", "--password", VALUE, f"redis://:{VALUE}@cache"],
    }})  # fmt: skip
    host.upgrade("r2")
    pause(host.context(), "web", f"see https://ops:{VALUE}@wiki.example.com:80/a", None, 0.0)
    seen = published(host)
    assert "Authorization" in seen.definitions["web"]
    assert "https://[secret]@wiki.example.com:80/a" in by_id(seen.status)["web"].notes[0].text
    assert VALUE not in document(host).read_text()


def test_it_contains_no_words_of_tasks(on_disk: SupervisedHost) -> None:
    """`conductor run` records all words of its command, and the page shows none."""
    host = on_disk
    published(host)
    entry = HistoryEntry(at=host.clock.now(), service="web", action="task", outcome=Outcome.DONE, who="ops")
    history = History(host.store.directory)
    for command in (f"run --id web psql {VALUE}", "supervise"):
        history.append(msgspec.structs.replace(entry, command=command))
    assert [(one.who, one.command) for one in published(host).history[:2]] == [("ops", "supervise"), ("ops", "")]
    assert VALUE not in document(host).read_text()


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("postgres://user:pass@db/app", "postgres://[secret]@db/app"),
        ("https://token@git.example.com", "https://[secret]@git.example.com"),
        ("redis://:p/a?s@s@cache:6379", "redis://[secret]@cache:6379"),
        ("http://127.0.0.1:8080/a@b", "http://127.0.0.1:8080/a@b"),
        ("https://example.com/@ops see ops@example.com", "https://example.com/@ops see ops@example.com"),
        ("registry.example.com:5000/shop@sha256:1", "registry.example.com:5000/shop@sha256:1"),
    ],
)
def test_urls_are_published_without_credentials(text: str, published: str) -> None:
    assert without_credentials(f'["{text}", "a@b"]'.encode()) == f'["{published}", "a@b"]'.encode()


def test_credentials_of_a_long_text_are_found_in_time() -> None:
    began = time.thread_time()
    without_credentials(b"://a:" * 20_000)
    assert time.thread_time() - began < 1


def test_only_root_may_enter_and_the_mounted_directory_may_be_read_by_all(host: SupervisedHost) -> None:
    published(host)
    path = document(host)
    modes = [one.stat().st_mode & 0o777 for one in (path, path.parent, path.parent.parent)]
    assert modes == [0o644, 0o755, 0o700]


def test_a_pass_without_news_examines_no_service_again(host: SupervisedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    published(host)
    reads = count_reads(host, monkeypatch)
    published(host)
    assert reads == []
    host.clock.advance(REFRESH_SECONDS)
    published(host)
    assert reads


def count_reads(host: SupervisedHost, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the ids of services whose usage is read from now on."""
    reads: list[str] = []
    usage = host.runtime.usage

    def counted(container: str) -> Any:
        reads.append(container)
        return usage(container)

    monkeypatch.setattr(host.runtime, "usage", counted)
    return reads


def test_it_makes_no_health_check_and_no_list_call(host: SupervisedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.runtime.calls.clear()
    host.run_pass()
    before = list(host.runtime.calls)
    monkeypatch.setattr(host.health, "check", lambda *_: pytest.fail("a health check"))
    host.runtime.calls.clear()
    published(host)
    assert host.runtime.calls.count("containers") == before.count("containers")


def test_health_and_restarts_turn_with_the_passes(on_disk: SupervisedHost) -> None:
    host = on_disk
    assert [one.health for one in published(host).status.services[0].replicas] == [CheckOutcome.HEALTHY] * 2
    victim = host.monitor.targets[0].replica.id
    host.monitor.conditions[victim] = Condition.UNHEALTHY
    host.monitor.recent = {victim: "++-"}
    seen = published(host)
    assert seen.checks == {victim: "++-"}
    assert seen.status.services[0].condition in {ServiceCondition.UNHEALTHY, ServiceCondition.SURPLUS}
    host.clock.advance(10)
    after = published(host)
    assert after.status.services[0].condition is ServiceCondition.OK
    assert after.status.services[0].restarts == 1


def test_a_change_in_progress_is_published_step_by_step(host: SupervisedHost) -> None:
    published(host)
    journal = journal_of(host)
    host.store.write_journal(journal)
    with host.context().locks.hold("web"):
        (change,) = published(host).changes
        assert (change.action, change.services, change.running, change.current) == ("upgrade", ("web",), True, "start")
        host.store.write_journal(msgspec.structs.replace(journal, steps={"start": 0.5}))
        (change,) = published(host).changes
        assert (change.steps, change.current) == ({"start": 0.5}, "gate")
    host.store.remove_journal("web")
    assert published(host).changes == ()


def test_an_interrupted_change_has_no_current_step(host: SupervisedHost) -> None:
    pause(host.context(), "web", "being looked at", None, 0.0)
    host.store.write_journal(journal_of(host))
    (change,) = published(host).changes
    assert (change.running, change.current) == (False, None)


def journal_of(host: SupervisedHost) -> Journal:
    wanted = host.store.wanted("web")
    return Journal(
        change="c2", service="web", action="upgrade", command="service upgrade --id web", who="ops", began=host.clock.now(),
        old=wanted, new=wanted, services=("web",), plan=("start", "gate", "commit"), before=host.runtime.snapshot().replicas,
        keep=tuple(one.id for one in host.runtime.snapshot().replicas),
    )  # fmt: skip


def test_totals_count_what_other_processes_add_to_the_history(on_disk: SupervisedHost) -> None:
    host = on_disk
    assert published(host).totals.actions == [], "what happened before supervise started is not counted"
    host.upgrade("r2")
    host.monitor.totals = {"web": CheckTotals(passed=3, failed=1, seconds=0.5)}
    totals = published(host).totals
    (upgrade,) = totals.actions
    assert (upgrade.service, upgrade.action, upgrade.outcome, upgrade.durations.count) == (
        "web",
        "upgrade",
        Outcome.DONE,
        1,
    )
    assert totals.steps["gate"].count == 1
    assert (totals.passes.count, totals.failed_passes) == (2, 0)
    assert [(one.service, one.passed, one.failed) for one in totals.checks] == [("web", 3, 1)]
    history = History(host.store.directory)
    more = HistoryEntry(at=host.clock.now(), service="web", action="upgrade", outcome=Outcome.DONE, cut=3, waited=1.5)
    history.append(more)
    totals = published(host).totals
    assert (totals.actions[0].durations.count, totals.cut_requests, totals.lock_waits.seconds) == (2, {"web": 3}, 1.5)
    assert published(host).history[0] == more


def test_while_docker_does_not_answer_the_last_state_is_published(host: SupervisedHost) -> None:
    assert published(host).waiting_for == ""
    host.runtime.away = True
    seen = published(host)
    assert seen.waiting_for
    assert [one.healthy for one in seen.status.services] == [2]
    assert seen.totals.failed_passes == 1


def test_a_broken_definitions_file_is_published(host: SupervisedHost) -> None:
    valid = published(host).definitions_valid
    (host.directory / "services.yml").write_text("services: [")
    host.clock.advance(5)
    seen = published(host)
    assert seen.problem
    assert seen.definitions_valid == valid


def test_the_end_of_supervise_is_published(host: SupervisedHost) -> None:
    assert published(host).ended == ""
    host.publisher.end()  # waits only briefly
    until = time.monotonic() + 20
    while not (ended := msgspec.json.decode(document(host).read_bytes(), type=Published).ended):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert ended == host.clock.now()


def test_a_file_that_cannot_be_written_is_reported_once_and_stops_nothing(host: SupervisedHost) -> None:
    path = document(host)
    path.parent.mkdir(parents=True)
    path.mkdir()  # nothing can be renamed to it
    host.run_pass(publish=True)
    host.run_pass(publish=True)
    assert [line for line in host.lines if "status page" in line][1:] in ([], [host.lines[-1]])
    path.rmdir()
    assert published(host).status.services


def test_replicas_that_are_not_watched_are_new_or_keep_their_last_health(host: SupervisedHost) -> None:
    published(host)
    (old, *_) = host.runtime.snapshot().replicas
    new = host.runtime.create(msgspec.structs.replace(host.runtime.spec(old.id), name="web-r2-1", ip="10.213.0.20", labels={
        **host.runtime.spec(old.id).labels, labels.NAME: "web-r2-1", labels.RELEASE: "other", labels.CHANGE: "c9"}))  # fmt: skip
    host.runtime.start(new)
    with host.context().locks.hold("web"):
        health = {one.id: one.health for one in by_id(published(host).status)["web"].replicas}
    assert (health[old.id], health[new]) == (CheckOutcome.HEALTHY, CheckOutcome.STARTING)


def test_bytes_that_are_no_utf8_do_not_prevent_a_document(host: SupervisedHost) -> None:
    seen = published(host)
    odd = msgspec.structs.replace(seen, machine=msgspec.structs.replace(seen.machine, name="caf\udce9"))
    assert msgspec.json.decode(encoded(odd), type=Published).machine.name == "caf?"
    assert msgspec.json.decode(encoded(seen), type=Published) == seen
