"""Names whose requests another server block answers: which questions are asked, and what their answers show."""

from collections.abc import Sequence

import msgspec
import pytest

from conductor.definitions.model import Definition, Nginx, Server, Service
from conductor.plan.route import Route
from conductor.traffic.port import Unreached
from conductor.traffic.reload import reached
from conductor.traffic.reload.reached import ALL_SECONDS, Question, unreached
from tests.fakes.runtime import FakeClock

OWN = "192.0.2.7"


@pytest.fixture(autouse=True)
def own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reached, "own_address", lambda: OWN)


def route(
    listen: Sequence[str] = ("127.0.0.1:80",),
    names: Sequence[str] = ("a.example",),
    endpoints: tuple[str, ...] = ("10.0.0.2:80",),
    template: str | None = None,
) -> Route:
    server = Server(listen=tuple(listen), names=tuple(names), template=template)
    service = Service(image="app", port=80, nginx=Nginx(upstream="shop", server=server))
    return Route(Definition(id="web", service=service, written={}, digest="d"), endpoints)


QUESTIONS: dict[str, tuple[str, str, list[Question]]] = {
    "address and port": ("10.0.0.1:81", "a.example", [Question("10.0.0.1", 81, "a.example", tls=False)]),
    "TLS": ("10.0.0.1:443 ssl http2", "a.example", [Question("10.0.0.1", 443, "a.example", tls=True)]),
    "every address": (
        "81", "a.example", [Question(ip, 81, "a.example", tls=False) for ip in ("127.0.0.1", OWN)]
    ),
    "every address with a star": (
        "*:81", "a.example", [Question(ip, 81, "a.example", tls=False) for ip in ("127.0.0.1", OWN)]
    ),
    "every IPv6 address": ("[::]:81", "a.example", [Question("::1", 81, "a.example", tls=False)]),
    "an IPv6 address without a port": ("[fd00::1]", "a.example", [Question("fd00::1", 80, "a.example", tls=False)]),
    "an IPv4 address without a port": ("10.0.0.1", "a.example", [Question("10.0.0.1", 80, "a.example", tls=False)]),
    "a host name": ("localhost:81", "a.example", [Question("localhost", 81, "a.example", tls=False)]),
    "a wildcard": ("10.0.0.1:81", "*.example", [Question("10.0.0.1", 81, "conductor-check.example", tls=False)]),
    "a dot": ("10.0.0.1:81", ".a.example", [Question("10.0.0.1", 81, "a.example", tls=False)]),
    "a regular expression": ("10.0.0.1:81", r"~^a\d+", []),
    "a catch-all": ("10.0.0.1:81 default_server", "_", []),
    "a variable": ("10.0.0.1:81", "$hostname", []),
    "a unix socket": ("unix:/run/a.sock", "a.example", []),
    "the PROXY protocol": ("10.0.0.1:81 proxy_protocol", "a.example", []),
    "a digit that is no number": ("10.0.0.1:²", "a.example", []),
    "QUIC": ("10.0.0.1:443 quic", "a.example", []),
}  # fmt: skip


@pytest.mark.parametrize(("listen", "name", "expected"), QUESTIONS.values(), ids=QUESTIONS)
def test_questions(listen: str, name: str, expected: list[Question]) -> None:
    asked: list[Question] = []

    def ask(question: Question, generation: str) -> bool:
        assert generation == "g"
        asked.append(question)
        return False

    found = unreached([route([listen], [name])], "g", set(), FakeClock(), ask)
    assert asked == expected
    assert [one.name for one in found] == [name] * bool(expected)


def answered(answers: dict[str, bool | None], ignored: set[str], *routes: Route) -> list[tuple[str, str, bool]]:
    """Return the names found, when the answers depend on IP or name."""

    def ask(question: Question, _generation: str) -> bool | None:
        return answers.get(question.host, answers.get(question.name))

    found = unreached(routes, "g", ignored, FakeClock(), ask)
    return [(one.address, one.name, one.everything) for one in found]


def test_a_name_that_another_block_answers() -> None:
    assert answered({"a.example": False}, set(), route()) == [("127.0.0.1:80", "a.example", False)]
    assert answered({"a.example": False}, {"a.example"}, route(names=["A.example"])) == []
    assert answered({"A.example": False}, {"a.example"}, route(names=["A.example"])) == [
        ("127.0.0.1:80", "A.example", True)
    ]


@pytest.mark.parametrize("other", [True, None], ids=["reached", "unknown"])
def test_not_everything_is_lost_while_another_name_is_reached_or_unknown(other: bool | None) -> None:
    answers = {"a.example": False, "b.example": other}
    both = route(names=["a.example", "b.example"])
    assert answered(answers, {"a.example", "b.example"}, both) == [("127.0.0.1:80", "a.example", False)]


@pytest.mark.parametrize("other", [True, None])
def test_one_of_all_addresses_is_enough(other: bool | None) -> None:
    """On 127.0.0.1 alone, an operator's status page may listen by itself."""
    assert answered({"127.0.0.1": False, OWN: other}, {"a.example"}, route(["80"])) == []
    assert answered({"127.0.0.1": False, OWN: False}, set(), route(["80"])) == [("80", "a.example", False)]


def test_a_redirect_is_asked_as_well_and_its_loss_is_not_everything() -> None:
    """A redirect of the operator's own on port 80 is common, for example that of certbot."""
    base = route(["10.0.0.1:443 ssl"])
    nginx = base.definition.service.nginx
    assert nginx is not None
    assert nginx.server is not None
    nginx = msgspec.structs.replace(nginx, server=msgspec.structs.replace(nginx.server, ssl_redirect=True))
    service = msgspec.structs.replace(base.definition.service, nginx=nginx)
    both = Route(msgspec.structs.replace(base.definition, service=service), base.endpoints)

    def lost(port: int) -> list[tuple[str, bool]]:
        found = unreached([both], "g", {"a.example"}, FakeClock(), lambda asked, _: asked.port != port)
        return [(one.address, one.everything) for one in found]

    assert lost(80) == [("10.0.0.1:80", False)]
    assert lost(443) == [("10.0.0.1:443", True)]


def test_a_service_without_replicas_and_an_operators_template_are_not_asked() -> None:
    answers = {"a.example": False}
    assert answered(answers, {"a.example"}, route(endpoints=()), route(template="/etc/own.j2")) == []


def test_each_service_is_judged_by_itself() -> None:
    lost, fine = route(), route(names=["b.example"])
    found = unreached([fine, lost], "g", {"a.example"}, FakeClock(), lambda asked, _: asked.name == "b.example")
    assert found == (Unreached(service="web", name="a.example", address="127.0.0.1:80", everything=True),)


def test_nothing_is_asked_after_the_deadline() -> None:
    clock, asked = FakeClock(), []

    def ask(question: Question, _generation: str) -> bool:
        asked.append(question.name)
        clock.advance(ALL_SECONDS)
        return False

    found = unreached([route(names=["a.example", "b.example"])], "g", {"a.example", "b.example"}, clock, ask)
    assert (asked, [one.everything for one in found]) == (["a.example"], [False])
