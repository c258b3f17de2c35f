"""Requests to Swarm are repeated while its managers elect a leader, and updates when Swarm has written in between."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from conductor.errors import ConductorError
from conductor.runtime.docker.api import EngineApi
from conductor.runtime.port import NotManager, RuntimeUnavailable
from conductor.runtime.swarm.api import TOTAL_SECONDS, SwarmApi
from tests.fakes.runtime import FakeClock

NO_LEADER = (
    500,
    {"message": "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that …"},
)
CONFLICT = (500, {"message": "rpc error: code = Unknown desc = update out of sequence"})
SPEC: dict[str, Any] = {
    "Name": "web", "Labels": {}, "Mode": {"Replicated": {"Replicas": 1}},
    "TaskTemplate": {"ContainerSpec": {"StopGracePeriod": 10_000_000_000}},
}  # fmt: skip
SERVICE = {"ID": "s1", "Version": {"Index": 7}, "CreatedAt": "2026-01-01T00:00:00.123456789Z", "Spec": SPEC}


def node(name: str, state: str = "ready", availability: str = "active") -> dict[str, Any]:
    spec = {"Role": "manager", "Availability": availability}
    return {"ID": name, "Description": {"Hostname": name}, "Spec": spec, "Status": {"State": state}}


class Manager:
    """Gives the next of `answers` to each request. The last one is repeated. A late one is an error after 3 seconds."""

    def __init__(self, clock: FakeClock, *answers: tuple[int, Any] | BaseException) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.requests: list[tuple[str, str, Any]] = []

    def exchange(self, method: str, path: str, action: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        self.requests.append((method, path, body and dict(body)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            self.clock.sleep(options["seconds"])
            raise answer
        if answer[0] >= 400 and answer[0] not in options["tolerated"]:
            raise ConductorError(f"cannot {action}: {answer[1]['message']}")
        return answer


def late(cause: OSError | None = None) -> RuntimeUnavailable:
    error = RuntimeUnavailable("cannot list nodes: Docker did not respond in time")
    error.__cause__ = cause or TimeoutError()
    return error


def api(*answers: tuple[int, Any] | BaseException) -> tuple[SwarmApi, Manager]:
    clock = FakeClock()
    manager = Manager(clock, *answers)
    return SwarmApi(cast("EngineApi", manager), clock), manager


def test_a_leader_is_awaited() -> None:
    swarm, manager = api(late(), NO_LEADER, late(), (200, [node("h1")]))
    assert swarm.nodes() == {"h1": node("h1")}
    assert 6 < manager.clock.monotonic() < 7


@pytest.mark.parametrize(
    "text",
    [
        "rpc error: code = Unknown desc = raft: failed to process the request: node lost leader status",
        "rpc error: code = Unknown desc = raft: failed to process the request: node is stopped",
        "rpc error: code = Unknown desc = raft: no elected cluster leader",
        "rpc error: code = Unavailable desc = transport is closing",
    ],
)
@pytest.mark.parametrize("status", [500, 503])
def test_a_request_that_a_leader_has_not_ended_is_repeated(text: str, status: int) -> None:
    swarm, _ = api((200, SERVICE), (status, {"message": text}), (200, {}))
    swarm.update_service("s1", "change web", lambda _: None)
    assert api((status, {"message": text}), (200, [node("h1")]))[0].nodes() == {"h1": node("h1")}


def test_nodes_that_can_run_a_task() -> None:
    states = [("ready", "active"), ("down", "active"), ("ready", "drain"), ("unknown", "active")]
    nodes = [node(str(number), *words) for number, words in enumerate(states)]
    assert api((200, nodes))[0].usable_nodes() == 2


@pytest.mark.parametrize("answer", [NO_LEADER, late()], ids=["a refusal", "silence"])
def test_the_wait_for_a_leader_ends(answer: Any) -> None:
    swarm, manager = api(answer)
    with pytest.raises(RuntimeUnavailable, match=r"^cannot list nodes: "):
        swarm.nodes()
    assert TOTAL_SECONDS <= manager.clock.monotonic() < TOTAL_SECONDS + 4


@pytest.mark.parametrize("error", [late(ConnectionRefusedError()), (500, {"message": "out of memory"})])
def test_other_errors_are_raised_at_once(error: Any) -> None:
    swarm, manager = api(error)
    with pytest.raises(ConductorError):
        swarm.nodes()
    assert len(manager.requests) == 1


def test_a_host_that_is_no_manager() -> None:
    swarm, manager = api((503, {"message": 'This node is not a swarm manager. Use "docker swarm init" or …'}))
    with pytest.raises(
        NotManager, match=r"^cannot list nodes: this host is not a manager of a Docker Swarm$"
    ) as refused:
        swarm.nodes()
    assert "live-restore" in refused.value.hint
    assert len(manager.requests) == 1


def test_an_update_names_the_version_that_it_replaces_and_is_repeated_for_a_newer_one() -> None:
    newer = {**SERVICE, "Version": {"Index": 9}, "Spec": {**SPEC, "Labels": {"by": "another"}}}
    swarm, manager = api((200, SERVICE), CONFLICT, (200, newer), NO_LEADER, (200, {}))

    def change(spec: dict[str, Any]) -> None:
        spec["Labels"] = {**spec["Labels"], "mine": "1"}

    swarm.update_service("s1", "change web", change)
    written = [(path, body["Labels"]) for method, path, body in manager.requests if method == "POST"]
    both = {"by": "another", "mine": "1"}
    first, *others = written
    assert first == ("/services/s1/update?version=7", {"mine": "1"})
    assert others == [("/services/s1/update?version=9", both)] * 2


def test_an_update_that_swarm_refuses() -> None:
    swarm, _ = api((200, SERVICE), (500, {"message": "invalid"}))
    with pytest.raises(ConductorError, match=r"^cannot change web: invalid$"):
        swarm.update_service("s1", "change web", lambda _: None)


def test_a_service_that_exists() -> None:
    assert api((201, {"ID": "s1"}))[0].create_service({"Name": "web"}, {}) == "s1"
    assert api((409, {"message": "name conflicts"}))[0].create_service({"Name": "web"}, {}) is None
    assert api((404, {"message": "not found"}))[0].service("web") is None


def test_the_credentials_are_sent_in_a_header() -> None:
    seen: list[Mapping[str, str] | None] = []

    class Listening(Manager):
        def exchange(self, *words: Any, **options: Any) -> tuple[int, Any]:
            seen.append(options["headers"])
            return super().exchange(*words, **options)

    clock = FakeClock()
    swarm = SwarmApi(cast("EngineApi", Listening(clock, (201, {"ID": "s1"}))), clock)
    swarm.create_service({"Name": "web"}, {"username": "u"})
    swarm.create_service({"Name": "web"}, {})
    assert seen == [{"X-Registry-Auth": "eyJ1c2VybmFtZSI6ICJ1In0="}, {}]


def test_the_tasks_of_a_service_that_was_removed_a_moment_ago() -> None:
    swarm, _ = api((404, {"message": "service s1 not found"}))
    assert swarm.tasks_of("s1") is None
    swarm, manager = api((200, []))
    assert swarm.tasks_of("s1") == []
    assert manager.requests[0][1] == "/tasks?filters=%7B%22service%22%3A%20%5B%22s1%22%5D%7D"
