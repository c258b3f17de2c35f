"""`gc` on a host in memory: what goes, what stays, and that a rollback never needs a registry afterwards."""

import contextlib
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from conductor.change import actions
from conductor.change.garbage import Collector, collect, survey
from conductor.change.progress import REPEAT_SECONDS
from conductor.cron.installed import job_key
from conductor.definitions.load import restore
from conductor.errors import ConductorError
from conductor.output.events import Event, Progress, Removed, StepFinished, StepStarted, Warned
from conductor.output.printable import size_text
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.garbage import HISTORY_BYTES, Kind
from conductor.plan.history import Outcome
from conductor.plan.journal import Journal
from conductor.plan.log import KeptLog, LogLine
from conductor.plan.release import Image
from conductor.plan.tasks import JobResult, Task, job_locks, task_spec
from conductor.plan.transition import new_release
from conductor.state.locks import IMAGES
from tests.fakes.runtime import IMAGE_BYTES, Behaviour
from tests.fakes.world import WEB, WORKER, World

REVISIONS = tuple(f"v{number}" for number in range(1, 13))
ALL = frozenset(Kind)
DAY = 86400.0


def make_world(directory: Path, services: dict[str, Any], **gc: Any) -> World:
    """Return a host that keeps one release, whose images v1 to v12 are in a registry. Image `theirs:1` is not Conductor's."""
    world = World(directory, services)
    world.define(services, keep=1, gc={"logs": "3650d", **gc})  # the clock is later than the times of the files
    for revision in REVISIONS:
        world.runtime.publish_image(f"shop:{revision}")
    world.runtime.add_image("theirs:1")
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, {"web": WEB})


def local(world: World) -> set[str]:
    """Return the tags of the local images that were in the registry."""
    return {name.partition(":")[2] for name in world.runtime.images if name.startswith("shop:v")}


def gc(world: World) -> Collector:
    return collect(world.context(), ALL)


def warnings(world: World) -> list[str]:
    return [event.text for event in world.recorder.events if isinstance(event, Warned)]


def task(world: World, revision: str) -> ContainerSpec:
    definition = restore("web", WEB)
    release = new_release(definition, revision, world.runtime.images[f"shop:{revision}"].id, "c")
    return task_spec(
        Task(service="web", kind="task", command=("true",)), definition, release, {}, instance="default",
        network=world.definitions.host.network.name, change=f"t{len(world.runtime.calls)}",
    )  # fmt: skip


def test_an_upgrade_removes_the_images_of_its_releases_that_are_no_longer_kept(world: World) -> None:
    for revision in ("v1", "v2", "v3"):
        assert world.upgrade(revision).warnings == 0
    assert local(world) == {"v2", "v3"}
    assert "theirs:1" in world.runtime.images
    removed = [event for event in world.recorder.events if isinstance(event, Removed)]
    assert [(one.kind, one.service, one.name, one.bytes) for one in removed] == [
        ("image", "web", "shop:v1", IMAGE_BYTES)
    ]
    world.perform(actions.rollback(None))
    assert local(world) == {"v2", "v3"}


def test_gc_reports_what_it_removes_as_one_step(tmp_path: Path) -> None:
    world = make_world(tmp_path, {"web": WEB}, after_upgrade=False)
    for revision in ("v1", "v2", "v3", "v4"):
        world.upgrade(revision)
    world.recorder.events.clear()
    gc(world)
    assert [(type(one), getattr(one, "step", "gc")) for one in world.recorder.events] == [
        (StepStarted, "gc"), (Progress, "gc"), (Removed, "gc"), (Progress, "gc"), (Removed, "gc"), (StepFinished, "gc"),
    ]  # fmt: skip
    assert [one.text for one in world.recorder.events if isinstance(one, Progress)] == [
        f"removing shop:v{number} of web, {size_text(IMAGE_BYTES)}, {left} left" for number, left in ((1, 2), (2, 1))
    ]
    world.recorder.events.clear()
    gc(world)
    assert world.recorder.events == []


def test_a_removal_that_takes_long_is_reported_again(tmp_path: Path) -> None:
    world = make_world(tmp_path, {"web": WEB}, after_upgrade=False)
    for revision in ("v1", "v2", "v3"):
        world.upgrade(revision)
    remove = world.runtime.remove_image
    reports = threading.Semaphore(0)
    emit = world.recorder.emit

    def counted(event: Event) -> None:
        emit(event)
        if isinstance(event, Progress):
            world.clock.advance(REPEAT_SECONDS)
            reports.release()

    def slowly(reference: str, image_id: str) -> None:
        for _ in range(3):
            assert reports.acquire(timeout=30.0)
        remove(reference, image_id)

    world.recorder.emit = counted  # type: ignore[method-assign]
    world.runtime.remove_image = slowly  # type: ignore[method-assign]
    assert [one.name for one in gc(world).removed] == ["shop:v1"]


def test_an_upgrade_leaves_the_garbage_of_other_services(tmp_path: Path) -> None:
    world = make_world(tmp_path, {"web": WEB, "worker": WORKER})
    world.upgrade("v1", "worker")
    for revision in ("v2", "v3"):
        world.upgrade(revision, "worker")
    world.upgrade("v4", "web")
    world.runtime.publish_image("shop:v9")
    for revision in ("v5", "v6"):
        world.upgrade(revision, "web")
    assert local(world) == {"v2", "v3", "v5", "v6"}


def test_images_that_conductor_did_not_pull_stay(world: World) -> None:
    for revision in ("r1", "r2", "r3"):
        world.upgrade(revision)
    assert gc(world).removed == []
    assert {"shop:r1", "shop:r2", "shop:r3"} <= set(world.runtime.images)


def test_without_after_upgrade_only_gc_removes_images(tmp_path: Path) -> None:
    world = make_world(tmp_path, {"web": WEB}, after_upgrade=False)
    for revision in ("v1", "v2", "v3", "v4"):
        world.upgrade(revision)
    assert local(world) == {"v1", "v2", "v3", "v4"}
    assert [(one.kind, one.name) for one in survey(world.context()).garbage] == [
        (Kind.IMAGE, "shop:v1"), (Kind.IMAGE, "shop:v2"),
    ]  # fmt: skip
    assert local(world) == {"v1", "v2", "v3", "v4"}
    assert [one.name for one in gc(world).removed] == ["shop:v1", "shop:v2"]
    assert local(world) == {"v3", "v4"}
    last = world.recorder.history[-1]
    assert (last.service, last.action, last.outcome, last.reason) == ("web", "gc", Outcome.DONE, "removed 2 images")
    assert gc(world).removed == []
    assert world.recorder.history[-1] == last


def failing(method: str) -> Any:
    return lambda world: world.runtime.fail(method, error=ConductorError(f"cannot {method}"))


def damaged(name: str) -> Any:
    def damage(world: World) -> None:
        path = world.directory / "state" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{")

    return damage


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(failing("local_images"), id="images cannot be listed"),
        pytest.param(failing("remove_image"), id="the image cannot be removed"),
        pytest.param(damaged("services/other.json"), id="what another service keeps is unknown"),
        pytest.param(damaged("images/web.json"), id="the record of pulls is damaged"),
        pytest.param(lambda world: world.runtime.behave("v3", Behaviour()) or bug(world), id="a bug"),
    ],
)
def test_a_failure_of_gc_is_a_counted_warning_of_the_upgrade_and_removes_nothing(world: World, trouble: Any) -> None:
    for revision in ("v1", "v2"):
        world.upgrade(revision)
    trouble(world)
    finished = world.upgrade("v3")
    assert (finished.exit_code, finished.warnings) == (0, 1)
    assert len(warnings(world)) == 1
    assert world.running() == {"v3": 2}
    assert local(world) == {"v1", "v2", "v3"}
    assert world.store.wanted("web").live.revision == "v3"


def bug(world: World) -> None:
    world.runtime.fail("local_images", error=ZeroDivisionError())


def test_an_image_that_cannot_be_removed_does_not_keep_the_others(tmp_path: Path) -> None:
    world = make_world(tmp_path, {"web": WEB}, after_upgrade=False)
    for revision in ("v1", "v2", "v3", "v4", "v5"):
        world.upgrade(revision)
    world.runtime.fail("remove_image", nth=2, error=ConductorError("cannot remove image shop:v2"))
    done = gc(world)
    assert ([one.name for one in done.removed], done.warnings) == (["shop:v1", "shop:v3"], 1)
    assert [one.name for one in gc(world).removed] == ["shop:v2"]


def installed(world: World) -> None:
    (world.directory / "cron" / "by-hand").write_text("* * * * * root conductor run --id web --revision v1 x\n")


def used_by_others(world: World) -> None:
    world.runtime.used_by_others.add("sha256:shop:v1")


def with_container(world: World) -> None:
    world.runtime.create(task(world, "v1"))


@pytest.mark.parametrize("use", [installed, used_by_others, with_container])
def test_what_a_crontab_or_a_container_uses_stays(world: World, use: Any) -> None:
    world.upgrade("v1")
    use(world)
    for revision in ("v2", "v3"):
        world.upgrade(revision)
    gc(world)
    assert local(world) == {"v1", "v2", "v3"}


def test_a_foreign_tag_keeps_the_image(world: World) -> None:
    world.upgrade("v1")
    world.runtime.images["mine:keep"] = world.runtime.images["shop:v1"]
    for revision in ("v2", "v3"):
        world.upgrade(revision)
    assert local(world) == {"v2", "v3"}
    assert world.runtime.images["mine:keep"].id == "sha256:shop:v1"
    assert world.store.pulled("web").images[0].reference == "shop:v2"


def test_an_image_whose_tag_moved_is_removed_by_its_id(world: World) -> None:
    world.upgrade("v1")
    world.upgrade("v2")
    world.runtime.images["sha256:shop:v1"] = world.runtime.images.pop("shop:v1")  # a newer v1 was pulled and removed
    world.upgrade("v3")
    assert "sha256:shop:v1" not in world.runtime.images


def test_the_image_of_a_failed_upgrade_is_garbage(world: World) -> None:
    world.upgrade("v1")
    world.health.unhealthy.add("v2")
    with pytest.raises(ConductorError):
        world.upgrade("v2")
    assert [one.name for one in gc(world).removed] == ["shop:v2"]


def test_a_busy_service_and_an_interrupted_change_are_skipped_and_named(tmp_path: Path) -> None:
    world = make_world(tmp_path, {"web": WEB, "worker": WORKER}, after_upgrade=False)
    for revision in ("v1", "v2", "v3"):
        world.upgrade(revision)
    with world.context().locks.hold("web"):
        assert [(one.name, "busy: process" in one.reason) for one in survey(world.context()).skipped] == [("web", True)]
        assert [one.name for one in gc(world).skipped] == ["web"]
    assert local(world) == {"v1", "v2", "v3"}  # `web` pulled it
    wanted = world.store.wanted("web")
    world.store.write_journal(
        Journal(change="c", service="web", action="upgrade", command="", who="", began="", old=wanted, new=wanted)
    )
    assert [one.name for one in gc(world).skipped] == ["web"]
    assert local(world) == {"v1", "v2", "v3"}
    world.store.remove_journal("web")
    assert gc(world).skipped == []
    assert local(world) == {"v2", "v3"}


def test_gc_stops_at_a_service_that_becomes_busy(tmp_path: Path) -> None:
    world = make_world(tmp_path, {"web": WEB}, after_upgrade=False)
    for revision in ("v1", "v2", "v3", "v4"):
        world.upgrade(revision)
    remove, commands = world.runtime.remove_image, contextlib.ExitStack()

    def remove_then_begin_a_command(reference: str, image_id: str) -> None:
        remove(reference, image_id)
        commands.enter_context(world.context().locks.hold("web"))

    world.runtime.remove_image = remove_then_begin_a_command  # type: ignore[method-assign]
    with commands:
        assert [one.name for one in gc(world).skipped] == ["web"]
    assert local(world) == {"v2", "v3", "v4"}


def test_an_image_is_not_removed_between_its_choice_and_the_journal(tmp_path: Path) -> None:
    """`worker` upgrades to an image that only `web` pulled and no longer keeps, while `gc` runs for `web`."""
    world = make_world(tmp_path, {"web": WEB, "worker": WORKER}, after_upgrade=False)
    for revision in ("v1", "v2", "v3"):
        world.upgrade(revision, "web")
    runtime, found = world.runtime, []
    image = runtime.image

    def image_then_gc(reference: str) -> Image | None:
        chosen = image(reference)
        if reference == "shop:v1" and not found:
            found.append(gc(world))
        return chosen

    runtime.image = image_then_gc  # type: ignore[method-assign]
    world.upgrade("v1", "worker")
    assert ([one.name for one in found[0].skipped], found[0].removed) == (["images"], [])
    assert world.running("worker") == {"v1": 1}
    assert gc(world).removed == []


def test_gc_waits_for_nothing_and_an_upgrade_waits_for_gc(world: World) -> None:
    context = world.context()
    with context.locks.share(IMAGES):
        world.upgrade("v1")
        world.upgrade("v2")
        assert world.upgrade("v3").warnings == 0
    assert local(world) == {"v1", "v2", "v3"}
    gc(world)
    assert local(world) == {"v2", "v3"}


def test_leftovers_of_tasks_and_jobs(tmp_path: Path) -> None:
    world = make_world(tmp_path, {"web": WEB})
    world.upgrade("v1")
    container = world.runtime.create(task(world, "v1"))
    world.runtime.start(container)
    world.clock.advance(120)
    job = job_key("bin/a")
    world.store.write_job(JobResult(service="web", job=job))
    world.store.write_job(JobResult(service="gone", job=job))
    with world.context().locks.hold(job_locks("gone", job)[0]):
        pass
    listed = [(one.kind, one.service) for one in survey(world.context()).garbage]
    assert listed == [(Kind.JOB, "gone"), (Kind.CONTAINER, "web"), (Kind.JOB, "web")]
    assert sorted((one.kind, one.service) for one in gc(world).removed) == sorted(listed)
    assert world.runtime.snapshot().tasks == ()
    assert world.store.jobs("web") == world.store.jobs("gone") == ()
    assert not list((tmp_path / "run" / "locks").glob(f"gone.{job}*"))
    assert survey(world.context()).garbage == ()


def kept_log(container: str) -> KeptLog:
    return KeptLog(container=container, revision="r1", kind="service", lines=(LogLine("", "stdout", "line"),))


def aged(world: World, path: Path, days: float) -> None:
    at = world.clock.wall() - days * DAY
    os.utime(path, (at, at))


def test_old_logs_bug_reports_and_the_history(tmp_path: Path) -> None:
    world = make_world(tmp_path, {"web": WEB}, logs="30d")
    logs = world.directory / "state" / "logs"
    for service, days in (("web", 29), ("web", 31), ("gone", 31)):
        world.store.keep_log(service, kept_log(f"{service}-{days}"))
        aged(world, logs / service / f"{service}-{days}.log", days)
    (logs / "conductor-bug-1.txt").touch()
    aged(world, logs / "conductor-bug-1.txt", 31)
    history = world.directory / "state" / "history.jsonl"
    history.write_bytes(b"\n" * HISTORY_BYTES)
    for days in range(12):
        path = world.directory / "state" / f"history.{12 - days:06}.jsonl"
        path.touch()
        aged(world, path, days)
    gc(world)
    assert sorted(path.name for path in logs.rglob("*.*")) == ["web-29.log"]
    assert not history.exists()
    left = sorted(path.name for path in history.parent.glob("history.*"))
    assert left == [f"history.{number:06}.jsonl" for number in range(4, 14)]


def test_a_full_disk_is_a_warning_and_keeps_fewer_logs(tmp_path: Path) -> None:
    world = make_world(tmp_path, {"web": WEB}, free="100%")
    world.runtime.settings["data_dir"] = str(tmp_path)
    for number in range(9):
        world.store.keep_log("web", kept_log(f"c{number}"))
        aged(world, tmp_path / "state" / "logs" / "web" / f"c{number}.log", 9 - number)
    assert {disk.path for disk in survey(world.context()).disks} == {str(tmp_path), str(tmp_path / "state")}
    done = gc(world)
    assert done.warnings == 2
    assert [one.name for one in done.removed] == [f"c{number}.log" for number in range(4)]


class Walk:
    """Random actions on two services that share their images. `step` makes one and checks what must hold after each."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.rollbacks = 0
        self.containers: list[str] = []

    def step(self) -> None:
        names = (
            "upgrade",
            "upgrade",
            "rollback",
            "fail",
            "start_task",
            "end_task",
            "cron_by_hand",
            "foreign",
            "gc",
            "gc",
        )
        named = self._named_and_local()
        in_use = {self.world.runtime.spec(one).image_id for one in self._all()}
        getattr(self, self.random.choice(names))()
        world = self.world
        present = {image.id for image in world.runtime.images.values()}
        for service in world.definitions.ids:
            wanted = world.store.wanted(service)
            for release in (wanted.release, *wanted.kept):
                assert release is None or release.image_id in present, f"{service} cannot roll back to {release}"
        assert "theirs:1" in world.runtime.images
        assert named & self._named() <= local(world)
        assert in_use & {world.runtime.spec(one).image_id for one in self._all()} <= present
        assert world.runtime.used_by_others <= present

    def _all(self) -> list[str]:
        found = self.world.runtime.snapshot()
        return [one.id for one in (*found.replicas, *found.tasks)]

    def _named(self) -> set[str]:
        texts = [path.read_text() for path in (self.world.directory / "cron").iterdir()]
        return {revision for revision in REVISIONS if any(f"--revision {revision} " in text for text in texts)}

    def _named_and_local(self) -> set[str]:
        return self._named() & local(self.world)

    def _services(self) -> list[str]:
        return self.random.choice([["web"], ["worker"], ["web", "worker"]])

    def upgrade(self) -> None:
        self.world.upgrade(self.random.choice(REVISIONS), *self._services())

    def rollback(self) -> None:
        service = self.random.choice(["web", "worker"])
        kept = self.world.store.wanted(service).kept
        if kept:
            pulls = len(self.world.runtime.called("pull"))
            self.world.perform(actions.rollback(self.random.choice(kept).revision), service)
            assert len(self.world.runtime.called("pull")) == pulls
            self.rollbacks += 1

    def fail(self) -> None:
        method = self.random.choice(["create", "start", "pull", "inspect", "image", "remove_image", "local_images"])
        self.world.runtime.fail(method, nth=self.random.randint(1, 3))
        with contextlib.suppress(ConductorError):
            self.upgrade()
        self.world.runtime.no_failures()
        self.world.recover(["web", "worker"])

    def start_task(self) -> None:
        revision = self.random.choice(sorted(local(self.world)) or [""])
        if revision:
            self.containers.append(self.world.runtime.create(task(self.world, revision)))
            self.world.runtime.start(self.containers[-1])

    def end_task(self) -> None:
        if self.containers:
            self.world.runtime.vanish(self.containers.pop(self.random.randrange(len(self.containers))))

    def cron_by_hand(self) -> None:
        path = self.world.directory / "cron" / "by-hand"
        revision = self.random.choice(REVISIONS)
        path.write_text(f"* * * * * root conductor run --id web --revision {revision} x\n")

    def foreign(self) -> None:
        revisions = local(self.world)
        used = {f"sha256:shop:{self.random.choice(sorted(revisions))}"} if revisions else set()
        self.world.runtime.used_by_others = used if self.random.random() < 0.5 else set()

    def gc(self) -> None:
        gc(self.world)
        world = self.world
        wanted = [world.store.wanted(service) for service in world.definitions.ids]
        needed = {r.revision for one in wanted for r in (one.release, *one.kept) if r}
        used = {world.runtime.spec(one).image_id.rpartition(":")[2] for one in self._all()}
        others = {image.rpartition(":")[2] for image in world.runtime.used_by_others}
        assert local(world) <= needed | used | others | self._named()


@pytest.mark.parametrize("seed", [0, *(pytest.param(more, marks=pytest.mark.long) for more in (1, 2, 3))])
def test_a_rollback_to_a_kept_release_never_needs_the_registry(tmp_path: Path, seed: int) -> None:
    cron = {**WEB, "cron": {"generate": ["bin/cron"]}}
    world = make_world(tmp_path, {"web": cron, "worker": WORKER})
    world.define({"web": cron, "worker": WORKER}, keep=2)
    world.runtime.behave("web", Behaviour(), kind="task")  # until it is removed
    world.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("* * * * * bin/a",)), kind="task")
    walk = Walk(world, seed)
    for _ in range(200):
        walk.step()
    assert walk.rollbacks > 5
    assert len(world.runtime.called("remove_image")) > 10


@pytest.mark.parametrize("name", ["state/services", "cron"])
def test_nothing_is_removed_while_it_is_not_known_what_is_needed(world: World, name: str) -> None:
    for revision in REVISIONS[:4]:
        world.upgrade(revision)
    world.define({"web": WEB}, keep=1, gc={"after_upgrade": False, "logs": "3650d"})
    world.upgrade(REVISIONS[4])
    before = local(world)
    directory = world.directory / name
    directory.rename(world.directory / "unmounted")
    directory.symlink_to(directory)  # it cannot be listed
    done = gc(world)
    assert (local(world), done.removed) == (before, [])
    directory.unlink()
    (world.directory / "unmounted").rename(directory)
    gc(world)
    assert local(world) < before
