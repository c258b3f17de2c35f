"""The daily run of `supervise`: once a day also across restarts, beside repairs, and not for paused services."""

from pathlib import Path
from typing import Any

import pytest

from conductor.change.pause import pause
from conductor.errors import ConductorError
from conductor.plan.tasks import JobResult
from conductor.supervise.garbage import ATTEMPT_SECONDS, DAY_SECONDS
from tests.fakes.world import WEB
from tests.unit.supervise.conftest import SupervisedHost


@pytest.fixture
def host(tmp_path: Path) -> SupervisedHost:
    """`web` has run releases v1 to v4, and the host keeps one of them; nothing was removed yet."""
    made = SupervisedHost(tmp_path, {"web": WEB})
    made.define({"web": WEB}, keep=1, gc={"after_upgrade": False, "logs": "3650d"})
    made.supervise()
    for number in range(1, 5):
        made.runtime.publish_image(f"shop:v{number}")
        made.upgrade(f"v{number}")
    made.run_pass()
    return made


def images(host: SupervisedHost) -> set[str]:
    return {name for name in host.runtime.images if name.startswith("shop:v")}


def later(host: SupervisedHost, seconds: float) -> None:
    host.clock.advance(seconds)
    host.run_pass()
    host.run_pass()


def test_the_first_run_is_some_time_after_the_start(host: SupervisedHost) -> None:
    host.store.write_job(JobResult(service="web", job="gone"))
    assert len(images(host)) == 4
    later(host, ATTEMPT_SECONDS)
    assert images(host) == {"shop:v3", "shop:v4"}
    assert host.store.jobs("web") == ()
    assert "garbage collection: removed 2 images, 1 job result" in host.lines
    assert [(entry.action, entry.command, entry.reason) for entry in host.history()] == [
        ("gc", "supervise", "removed 2 images, 1 job result")
    ]


def test_the_next_run_is_a_day_later_also_after_a_restart(host: SupervisedHost) -> None:
    later(host, ATTEMPT_SECONDS)
    host.runtime.publish_image("shop:v5")
    host.upgrade("v5")
    host.supervise()
    later(host, DAY_SECONDS - 2 * ATTEMPT_SECONDS)
    assert images(host) == {"shop:v3", "shop:v4", "shop:v5"}
    later(host, 3 * ATTEMPT_SECONDS)
    assert images(host) == {"shop:v4", "shop:v5"}


def test_nothing_of_a_paused_service_is_removed(host: SupervisedHost) -> None:
    pause(host.context(), "web", "", None, 0.0)
    later(host, ATTEMPT_SECONDS)
    assert len(images(host)) == 4


def test_repairs_go_on_while_images_are_removed(host: SupervisedHost) -> None:
    remove, repaired = host.runtime.remove_image, []

    def slowly(reference: str, image_id: str) -> None:
        if not repaired:
            host.runtime.exit(next(one.id for one in host.replicas() if one.running))
            host.in_progress.forget_finished()
            observed = host.observer.observe(runtime_restarted=False)
            repaired.append("web" in observed.observations and not host.context().locks.is_held("web"))
        remove(reference, image_id)

    host.runtime.remove_image = slowly  # type: ignore[method-assign]
    later(host, ATTEMPT_SECONDS)
    assert repaired == [True]
    assert images(host) == {"shop:v3", "shop:v4"}


@pytest.mark.parametrize("error", [ConductorError("cannot list images"), ZeroDivisionError()], ids=["trouble", "a bug"])
def test_a_failure_is_reported_and_tried_again_a_day_later(host: SupervisedHost, error: Any) -> None:
    host.runtime.fail("local_images", error=error)
    later(host, ATTEMPT_SECONDS)
    assert any(line.startswith("garbage collection: ") for line in host.lines)
    assert len(images(host)) == 4
    later(host, DAY_SECONDS + ATTEMPT_SECONDS)
    assert images(host) == {"shop:v3", "shop:v4"}
