"""What runs: endpoints of replicas, and the wording of a container's state and of a check."""

import pytest

from conductor.plan.replica import LOCAL, CheckResult, ContainerState, Replica


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [("10.0.0.2:80", "10.0.0.2:80"), ("127.0.0.1:21000", "127.0.0.1:21000"), ("10.0.0.2", None), ("", None)],
)
def test_a_replica_with_a_port_has_an_endpoint(address: str, endpoint: str | None) -> None:
    replica = Replica(
        id="i", name="web-1", service="web", revision="r1", release="c1", change="c1", address=address, state="running"
    )
    assert (replica.endpoint, replica.node, replica.running) == (endpoint, LOCAL, True)


@pytest.mark.parametrize(
    ("running", "exit_code", "out_of_memory", "error", "text"),
    [
        (True, None, False, "", "running"),
        (False, 3, False, "", "exited with code 3"),
        (False, 127, False, "no such file", "exited with code 127: no such file"),
        (
            False,
            137,
            False,
            "",
            "exited with code 137: SIGKILL, not sent by Conductor; the kernel may have killed it for lack of memory",
        ),
        (False, 137, False, "no such file", "exited with code 137: no such file"),
        (False, 137, True, "", "was killed: out of memory (exit code 137)"),
        (False, None, False, "no such file", "no such file"),
    ],
)
def test_wording_of_a_containers_state(
    running: bool, exit_code: int | None, out_of_memory: bool, error: str, text: str
) -> None:
    state = ContainerState(running=running, exit_code=exit_code, out_of_memory=out_of_memory, address="", error=error)
    assert str(state) == text


@pytest.mark.parametrize(
    ("status", "output", "error", "text"),
    [
        (200, "", "", "status 200"),
        (503, "no database", "", "status 503 'no database'"),
        (None, "", "connection refused", "connection refused"),
        (None, "no queue", "bin/alive exited with code 1", "bin/alive exited with code 1: no queue"),
    ],
)
def test_wording_of_a_check(status: int | None, output: str, error: str, text: str) -> None:
    assert str(CheckResult(ok=False, seconds=0.0, status=status, output=output, error=error)) == text
