"""Tasks that nobody watches any more: which go, and what is written down of them."""

from types import SimpleNamespace

import pytest

from conductor.change.cleanup import KEEP_SECONDS, reap
from conductor.errors import ConductorError
from conductor.plan.tasks import GENERATE, GENERATE_SECONDS
from conductor.plan.values import Container, ContainerState

OLD, YOUNG = KEEP_SECONDS + 1, KEEP_SECONDS - 1


class Runtime:
    """One container; `age` is in seconds since it ended."""

    def __init__(self, kind: str, state: str, exit_code: int | None, job: str = "") -> None:
        self.found = Container(
            id="i", name="web-r1-c-task", service="web", revision="r1", kind=kind, digest="d", change="c", address="",
            image_id="sha256:1", state=state, job=job, created=1000.0,
        )  # fmt: skip
        self.state: ContainerState | None = ContainerState(
            running=state == "running",
            exit_code=exit_code,
            out_of_memory=False,
            address="",
            since="2026-01-01T00:00:00Z",
        )
        self.removed: list[str] = []

    def containers(self, service: str) -> tuple[Container, ...]:
        return (self.found,)

    def inspect(self, _container: str) -> ContainerState | None:
        return self.state

    def remove(self, container: str) -> None:
        self.removed.append(container)


def reaped(runtime: Runtime, age: float) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    store = SimpleNamespace(record=lines.append)
    clock = SimpleNamespace(age=lambda _stamp: age, wall=lambda: 1000.0 + age)
    reap(SimpleNamespace(runtime=runtime, store=store, clock=clock), "web")  # type: ignore[arg-type]
    assert runtime.removed == ["i"] * len(lines)
    return lines


@pytest.mark.parametrize("kind", ["task", "cron", "console"])
def test_one_that_has_ended_goes(kind: str) -> None:
    (line,) = reaped(Runtime(kind, "exited", 7), OLD)
    assert (line["action"], line["exit_code"], line["container"]) == (kind, 7, "web-r1-c-task")
    assert line["outcome"] == "exited with code 7, with nobody there to see it"


def test_one_that_never_started_goes() -> None:
    (line,) = reaped(Runtime("task", "created", 0), OLD)
    assert line["outcome"] == "was never started"


def test_one_that_prints_a_crontab_for_ever_goes() -> None:
    endless = Runtime("task", "running", None, job=GENERATE)
    assert reaped(endless, GENERATE_SECONDS + YOUNG) == []
    (line,) = reaped(endless, GENERATE_SECONDS + OLD)
    assert (line["outcome"], line["exit_code"]) == ("never ended", None)


@pytest.mark.parametrize(
    ("kind", "state", "code", "age"),
    [
        ("task", "exited", 0, YOUNG),
        ("task", "running", None, OLD * 100),
        ("cron", "running", None, OLD * 100),
        ("service", "exited", 1, OLD),
        ("hook", "exited", 1, OLD),
    ],
)
def test_others_stay(kind: str, state: str, code: int | None, age: float) -> None:
    assert reaped(Runtime(kind, state, code), age) == []


def test_one_that_is_gone_meanwhile() -> None:
    runtime = Runtime("task", "exited", 0)
    runtime.state = None
    assert reaped(runtime, OLD) == []


def test_a_daemon_that_does_not_answer_fails_nothing() -> None:
    runtime = Runtime("task", "exited", 0)

    def refuse(_container: str) -> ContainerState:
        raise ConductorError("cannot inspect")

    runtime.inspect = refuse  # type: ignore[method-assign]
    assert reaped(runtime, OLD) == []
