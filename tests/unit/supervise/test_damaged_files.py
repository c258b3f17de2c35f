"""Each file of Conductor's damaged in each way: what reads the file names it, the release keeps serving, and nothing else is removed.

Once the file is restored, the next upgrade works. What Docker and nginx do meanwhile is in tests/integration/test_state_trouble.py.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conductor.doctor.examination import Examination, Room
from conductor.doctor.examine import examine
from conductor.errors import ConductorError, LockYielded
from conductor.plan.garbage import PulledImage, PulledImages
from conductor.plan.tasks import JobResult
from conductor.snapshot.host import take_snapshot
from conductor.state.history import History
from conductor.state.locks import Locks
from conductor.state.notifications import NotificationRecords
from conductor.state.promotions import Promotions
from conductor.state.supervisor_status import SUPERVISE_LOCK
from conductor.systemctl import Unit
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB

SERVICE = {**WEB, "cron": {"generate": ["bin/generate-cron"]}}
NOBODY = 65534


@pytest.fixture
def damageable(host_type: Callable[..., Any], tmp_path: Path) -> Any:
    """A host where two replicas of `web` r2 serve, with every file that Conductor writes but a journal."""
    host = host_type(tmp_path, {"web": SERVICE})
    host.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("* * * * * bin/job",)))
    history = History(host.store.directory)
    host.recorder.append = history.append
    host.upgrade("r1")
    host.upgrade("r2")
    host.store.write_job(JobResult(service="web", job="0123456789ab", exit_code=1, failures=1))
    NotificationRecords(host.store.directory).record_delivery("web", host.clock.now(), "no answer")
    host.store.write_pulled(
        PulledImages(service="web", images=(PulledImage(reference="shop:r2", image_id="sha256:2"),))
    )
    NotificationRecords(host.store.directory).write_reported({})
    host.store.make_digest_key()
    host.store.write_collected(host.clock.now())
    Promotions(host.definitions.host.runtime_dir).request("web", "earlier")
    host.run_pass(publish=True)
    host.clock.advance(60.0)
    return host


def _linked(path: Path) -> None:
    target = path.with_name(f"{path.name}.of-others")
    path.rename(target)
    path.symlink_to(target)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "of-others").write_text("kept")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "newer": lambda path: path.write_text('{"version": 99}\n'),
    "of another owner": lambda path: os.chown(path, NOBODY, NOBODY),
    "a link": _linked,
    "a directory": _directory,
}

JOURNAL = "state/journal/web.json"
# Files by their places, with the actors that refuse to work with a damaged one; the others need no such file, or replace it.
FILES: dict[str, set[str]] = {
    "cron/conductor-web": {"upgrade"},
    "run/locks/*.lock": {"upgrade"},
    "run/promotions/web": set(),
    "run/public/snapshot/host.json": set(),
    "run/supervise.json": set(),
    "state/addresses.json": {"upgrade"},
    "state/digest.key": set(),
    "state/gc.json": set(),
    "state/history.jsonl": {"status"},
    "state/host.json": set(),
    "state/images/web.json": set(),
    "state/jobs/web/0123456789ab.json": set(),
    JOURNAL: {"upgrade"},
    "state/logs/web/*.log": set(),
    "state/notify/web.json": set(),
    "state/reported.json": set(),
    "state/services/web.json": {"upgrade"},
}
WRITTEN_IN_PLACE = {"run/locks/*.lock", "state/history.jsonl"}


def places(directory: Path) -> set[str]:
    """Return the places of all files but the definitions. The names of logs and locks depend on the change."""
    found = {path.relative_to(directory) for path in directory.rglob("*") if path.is_file()} - {Path("services.yml")}
    return {str(path.parent / f"*{path.suffix}" if path.suffix in {".log", ".lock"} else path) for path in found}


def test_every_file_is_in_the_table(damageable: Any) -> None:
    damageable.traffic.fail("switch", error=LockYielded(), at="recorded")
    with pytest.raises(LockYielded):
        damageable.upgrade("r3")
    assert places(damageable.directory) == set(FILES)


def doctor(host: Any) -> None:
    room = Room(2**40, 0, 2**39)
    report = examine(
        Examination(
            definitions=host.definitions, context=host.context(), unit=lambda _: Unit(installed=True, enabled=True, active=True),
            is_root=True, is_cron_running=lambda: True, room=lambda _: room,
        )
    )  # fmt: skip
    assert "a bug in Conductor" not in report.describe(), report.describe()


def act(actor: str, host: Any, path: Path) -> bool:
    """Return False if the actor refuses, with the name of the file."""
    actors: dict[str, Callable[[], object]] = {
        "status": lambda: take_snapshot(host.definitions, host.context()),
        "doctor": lambda: doctor(host),
        "supervise": lambda: host.run_pass(publish=True),
        "upgrade": lambda: host.upgrade("r3"),
    }
    sentence = str(path)
    try:
        actors[actor]()
    except ConductorError as error:
        sentence = error.sentence
    assert str(path) in sentence
    return sentence == str(path)


def cases() -> Iterator[object]:
    """Yield every pair of a file and a damage; every other one only for the long tests."""
    for number, (place, damage) in enumerate((place, damage) for place in FILES for damage in DAMAGES):
        is_long = (number + number // len(DAMAGES)) % 2
        yield pytest.param(place, damage, marks=pytest.mark.long if is_long else (), id=f"{place}-{damage}")


@pytest.mark.parametrize(("place", "damage"), [*cases()])
def test_a_damaged_file(damageable: Any, place: str, damage: str) -> None:
    host = damageable
    if place == JOURNAL:
        host.traffic.fail("switch", error=LockYielded(), at="recorded")
        with pytest.raises(LockYielded):
            host.upgrade("r3")
    routes = dict(host.traffic.routes)
    path = min(host.directory.glob(place))
    before, kept = path.read_bytes(), host.directory / "kept"
    shutil.copy2(path, kept)
    refused = set()
    with Locks(host.directory / "run" / "locks", "supervise", host.clock, host.cancellation).hold(SUPERVISE_LOCK):
        DAMAGES[damage](path)
        for actor in ("status", "doctor", "supervise"):
            refused |= set() if act(actor, host, path) else {actor}
            assert (host.running()["r2"], host.traffic.routes) == (2, routes), actor
    assert not any("Traceback" in line or "bug" in line for line in host.lines), host.lines
    refused |= set() if act("upgrade", host, path) else {"upgrade"}
    assert refused <= FILES[place]
    for others in path.parent.rglob("*of-others"):
        assert others.read_bytes() in {before, b"kept"} or (damage == "a link" and place in WRITTEN_IN_PLACE)
    if "upgrade" in refused:
        assert (host.running()["r2"], host.traffic.routes) == (2, routes)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.move(kept, path)
        host.upgrade("r3")
    assert host.running() == {"r3": 2}
    assert len(host.replicas()) == 2
