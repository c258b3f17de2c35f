"""One health check of each kind, and what is shown of its answer."""

import msgspec
import pytest

from conductor.definitions.host import Network
from conductor.definitions.model import Health
from conductor.health.check import SHOWN_CHARACTERS, HealthChecks
from conductor.plan.replica import CheckResult, Replica
from tests.fakes.runtime import Behaviour, FakeRuntime
from tests.fakes.runtime_contract import Case

NETWORK = Network(name="net", subnet="10.1.2.0/24", tasks="10.1.2.192/26")
SECRET = "hunter2"


def redact(text: str) -> str:
    return text.replace(SECRET, "[secret]")


@pytest.fixture
def runtime() -> FakeRuntime:
    made = FakeRuntime()
    made.ensure_network(NETWORK)
    made.add_image("app:r1")
    return made


@pytest.fixture
def replica(runtime: FakeRuntime) -> Replica:
    Case(runtime, runtime.clock, "default", NETWORK, "app:r1", runtime.add_image).started("serves")
    return runtime.snapshot().replicas[0]


def checks(runtime: FakeRuntime, result: CheckResult | None = None) -> HealthChecks:
    return HealthChecks(runtime, lambda _address, _health: result or CheckResult(ok=True, seconds=0.0, status=200))


def test_over_the_network(runtime: FakeRuntime, replica: Replica) -> None:
    addresses: list[str] = []

    def probe(address: str, health: Health) -> CheckResult:
        addresses.append(address)
        return CheckResult(ok=health.tcp, seconds=0.0)

    assert HealthChecks(runtime, probe).check(replica, Health(tcp=True), redact).ok
    assert not HealthChecks(runtime, probe).check(replica, Health(path="/up"), redact).ok
    assert addresses == ["10.1.2.2:80", "10.1.2.2:80"]


@pytest.mark.parametrize("address", ["10.1.2.2:80", "10.1.2.2"])
def test_on_another_port(runtime: FakeRuntime, replica: Replica, address: str) -> None:
    """A worker without a port of its own may have a check on one."""
    addresses: list[str] = []

    def probe(address: str, health: Health) -> CheckResult:
        addresses.append(address)
        return CheckResult(ok=True, seconds=0.0)

    replica = msgspec.structs.replace(replica, address=address)
    assert HealthChecks(runtime, probe).check(replica, Health(path="/up", port=8081), redact).ok
    assert addresses == ["10.1.2.2:8081"]


def test_a_replica_without_an_address_has_no_other_port(runtime: FakeRuntime, replica: Replica) -> None:
    result = HealthChecks(runtime).check(msgspec.structs.replace(replica, address=""), Health(tcp=True, port=1), redact)
    assert (result.ok, result.unknown) == (False, False)


@pytest.mark.parametrize("address", ["", "10.1.2.2"])
@pytest.mark.parametrize("health", [Health(tcp=True), Health(path="/up")])
def test_a_container_without_a_port_is_unhealthy(
    runtime: FakeRuntime, replica: Replica, address: str, health: Health
) -> None:
    """It may be of a release from before the service had a port."""
    result = HealthChecks(runtime).check(msgspec.structs.replace(replica, address=address), health, redact)
    assert (result.ok, result.unknown, bool(result.error)) == (False, False, True)


def test_inside_the_container(runtime: FakeRuntime, replica: Replica) -> None:
    health = Health(command=("alive", "-q"))
    assert checks(runtime).check(replica, health, redact).ok
    assert runtime.called("execute") == [(replica.id, ("alive", "-q"), health.timeout)]


def test_without_a_check(runtime: FakeRuntime, replica: Replica) -> None:
    health = Health(none=True)
    assert checks(runtime).check(replica, health, redact).ok
    runtime.exit(replica.id, 3)
    result = checks(runtime).check(replica, health, redact)
    assert (result.ok, result.unknown, result.error) == (False, False, "exited with code 3")
    runtime.vanish(replica.id)
    assert checks(runtime).check(replica, health, redact).error == "the container does not exist"
    runtime.away = True
    result = checks(runtime).check(replica, health, redact)
    assert (result.ok, result.unknown) == (False, True)


def test_the_head_of_a_response_is_shown(runtime: FakeRuntime, replica: Replica) -> None:
    body = "a" * (SHOWN_CHARACTERS - 4) + SECRET + "b" * 100
    answer = CheckResult(ok=False, seconds=0.0, status=500, output=body)
    output = checks(runtime, answer).check(replica, Health(path="/"), redact).output
    assert output == "a" * (SHOWN_CHARACTERS - 4) + "[sec"


def test_the_end_of_a_commands_output_is_shown(runtime: FakeRuntime) -> None:
    output = "a" * 100 + SECRET + "b" * (SHOWN_CHARACTERS - 4)
    runtime.behave("serves", Behaviour(healthy=False, answer=output))
    Case(runtime, runtime.clock, "default", NETWORK, "app:r1", runtime.add_image).started("serves")
    result = checks(runtime).check(runtime.snapshot().replicas[0], Health(command=("alive",)), redact)
    assert (result.output, result.error) == ("ret]" + "b" * (SHOWN_CHARACTERS - 4), "alive exited with code 1")
