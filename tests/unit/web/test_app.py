"""The answers: documents, refusals, headers, and what is escaped."""

import json

import msgspec
import pytest

from conductor.snapshot.model import JobRow, JobState
from conductor.snapshot.published import STALE_SECONDS, Published
from conductor.web.app import FILES
from tests.unit.web.conftest import Site

EVIL = "<script>alert('&\"')</script>"


def test_status_json_is_the_document_of_service_status(site: Site) -> None:
    answer = site.get("/status.json")
    published = msgspec.json.decode(site.path.read_bytes(), type=Published)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.body) == json.loads(msgspec.json.encode(published.status))
    site.clock.ahead = STALE_SECONDS + 1
    assert json.loads(site.get("/status.json").body)["supervise_running"] is False


def test_without_a_document_there_is_an_error_and_the_page_says_what_to_run(site: Site) -> None:
    site.write(b"{")
    answer = site.get("/status.json")
    assert (answer.status, json.loads(answer.body)["version"]) == (503, 1)
    assert json.loads(answer.body)["hint"] in (page := site.get("/")).body
    assert page.status == 503
    assert site.get("/services/web").status == 404


@pytest.mark.parametrize(
    "path", ["/", "/services/web", "/services/worker", "/status.json", "/metrics", *(f"/{name}" for name in FILES)]
)
def test_every_answer_has_the_headers_of_a_page_that_can_do_nothing(site: Site, path: str) -> None:
    answer = site.get(path)
    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.body.encode())


@pytest.mark.parametrize(
    "path",
    ["/x", "/services/", "/services/nope", "/services/web/", "/../etc/passwd", "/page.html", "/parts.html.j2", "//"],
)
def test_unknown_paths(site: Site, path: str) -> None:
    assert site.get(path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"])
def test_only_get(site: Site, method: str) -> None:
    answer = site.get("/", method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9750", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:9750"])
def test_own_names(site: Site, host: str) -> None:
    assert site.get("/", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "localhost.evil.example",
        "evil.example:80",
        "localhost:x",
        "127.0.0.1.",
        "[::2]",
        "8080",
    ],
)
def test_a_host_of_somebody_else(site: Site, host: str | None) -> None:
    assert site.get("/", host=host).status == 421


def test_names_and_reasons_with_html_are_escaped_everywhere(site: Site) -> None:
    def evil(document: Published) -> Published:
        service = document.status.services[0]
        replica = (
            msgspec.structs.replace(service.replicas[0], name=EVIL, answer=EVIL, endpoint=EVIL)
            if service.replicas
            else None
        )
        changed = msgspec.structs.replace(
            service,
            service=EVIL,
            revision=EVIL,
            replicas=(replica,) if replica else (),
        )
        history = tuple(msgspec.structs.replace(one, reason=EVIL, who=EVIL, service=EVIL) for one in document.history)
        status = msgspec.structs.replace(document.status, services=(changed, *document.status.services[1:]))
        return msgspec.structs.replace(
            document, status=status, history=history, problem=EVIL, waiting_for=EVIL, conductor=EVIL,
            definitions={EVIL: EVIL}, machine=msgspec.structs.replace(document.machine, name=EVIL, runtime=EVIL),
        )  # fmt: skip

    site.host.define({"web": site.host.definitions.ids and {"image": "shop", "count": 1, "port": 8080, "nginx": {}}})
    site.publish(evil)
    for path in ("/", f"/services/{EVIL}"):
        body = site.get(path).body
        assert "<script>alert" not in body
        assert "&lt;script&gt;alert" in body
    assert site.get("/metrics").status == 200


def test_times_that_are_none(site: Site) -> None:
    """A file of the state from which `supervise` publishes may be damaged."""

    def damaged(document: Published) -> Published:
        (service, *others) = document.status.services
        replicas = tuple(msgspec.structs.replace(one, started=EVIL) for one in service.replicas)
        services = (msgspec.structs.replace(service, deployed=EVIL, replicas=replicas), *others)
        job = JobRow(service="web", revision="r1", job="a", schedule="@daily", command="a", next_run=EVIL,
                     state=JobState.DONE, began=EVIL)  # fmt: skip
        history = tuple(msgspec.structs.replace(one, at=EVIL, began=EVIL, seconds=None) for one in document.history)
        return msgspec.structs.replace(
            document, status=msgspec.structs.replace(document.status, services=services), jobs=(job,), history=history,
            written=EVIL, since=EVIL, definitions_valid=EVIL,
        )  # fmt: skip

    site.publish(damaged)
    assert site.get("/").status == site.get("/services/web").status == 200
    assert "<script>alert" not in site.get("/").body
    assert "conductor_published_timestamp_seconds NaN" in site.get("/metrics").body


def test_a_thousand_services(site: Site) -> None:
    def many(document: Published) -> Published:
        one = document.status.services[0]
        services = tuple(msgspec.structs.replace(one, service=f"s{number}") for number in range(1000))
        return msgspec.structs.replace(document, status=msgspec.structs.replace(document.status, services=services))

    site.publish(many)
    assert site.get("/").body.count("<article>") == 1000
    assert site.get("/services/s999").status == 200
    assert site.get("/metrics").body.count("conductor_service_wanted{") == 1000
