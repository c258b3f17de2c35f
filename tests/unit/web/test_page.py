"""The page says what matters first, and is complete without a script."""

from html.parser import HTMLParser

import msgspec
import pytest

from conductor.change.pause import pause
from conductor.plan.reason import Mismatch
from conductor.plan.reconcile import Condition
from conductor.plan.route import TrafficState
from conductor.snapshot.model import ServiceSnapshot
from conductor.snapshot.notes import Busy, DamagedState, Supervise
from conductor.snapshot.published import STALE_SECONDS, Change, PublishedLine, PublishedLog, log_path
from conductor.snapshot.rows import ServiceCondition
from conductor.state.supervisor_status import ServiceStatus
from conductor.web import page
from conductor.web.page import Run
from tests.unit.web.conftest import Site

NOW = "2026-01-31T08:00:00.000Z"


class Elements(HTMLParser):
    """The text of elements with an id, and what no page may have."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.inline: list[str] = []
        self.depth: list[str] = []
        self.heading = ""
        self.feed(body)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.ids += [names["id"] or ""] if "id" in names else []
        self.inline += [name for name in names if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in names):
            self.inline.append(tag)
        if tag not in {"meta", "link", "rect"}:
            self.depth.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.depth.pop() == tag

    def handle_data(self, data: str) -> None:
        if "h1" in self.depth and "span" not in self.depth:
            self.heading += data


def heading(site: Site, path: str = "/") -> str:
    return " ".join(Elements(site.get(path).body).heading.split())


@pytest.mark.parametrize("path", ["/", "/services/web", "/services/new"])
def test_the_page_is_well_formed_and_has_nothing_inline(site: Site, path: str) -> None:
    found = Elements(site.get(path).body)
    assert (found.depth, found.inline) == ([], [])
    assert len(found.ids) == len(set(found.ids))


def test_every_part_has_its_element(site: Site) -> None:
    for service in (None, "web"):
        pages = page.Pages(site.source.view(), site.source.log)
        assert set(pages.parts(service)) <= set(Elements(pages.html(service)).ids)


def test_the_heading_is_the_worst_that_is_known(site: Site) -> None:
    assert heading(site) == "All 3 services are healthy"
    pause(site.host.context(), "worker", "tests", None, 0.0)
    site.publish()
    assert heading(site) == "All 2 other services are healthy"
    assert "supervision paused by" in site.get("/").body
    site.host.monitor.conditions[site.host.replicas("web")[0].id] = Condition.STARTING
    site.publish()
    assert heading(site) == "1 of 3 services needs attention"
    assert heading(site, "/services/web") == "web: 1 of 2 healthy"
    site.host.runtime.away = True
    site.publish()
    assert heading(site) == "The last supervise pass failed"
    site.clock.ahead = STALE_SECONDS + 1
    assert heading(site).startswith("supervise has not been running since")
    site.write(b"")
    assert heading(site) == "The state of this host is unknown"


def test_each_service_in_trouble_has_its_reason_below_the_heading(site: Site) -> None:
    pause(site.host.context(), "worker", "index is rebuilt", None, 0.0)
    site.publish()
    parts = page.Pages(site.source.view(), site.source.log).parts(None)
    assert "index is rebuilt" in parts["headline"]
    paused = next(one for one in site.source.view().status.services if one.service == "worker")  # type: ignore[union-attr]
    busy, trouble = Busy(pid=1, command="x", since=NOW), DamagedState(error="cannot read it", hint="restore it")
    retrying = Supervise(status=ServiceStatus(reason=Mismatch(wanted=2, healthy=1), text="2 wanted, 1 healthy"))
    for notes, expected in (
        ((busy, trouble, *paused.notes), paused.notes[0].text), ((busy, retrying, trouble), trouble.text),
        ((busy, retrying), retrying.text), ((busy,), ""),
    ):  # fmt: skip
        assert page.reason(msgspec.structs.replace(paused, notes=notes)) == expected


def test_a_change_in_progress(site: Site) -> None:
    change = Change(
        change="c", services=("web",), action="upgrade", who="ops", command="service upgrade", began=NOW, from_="r1", to="r2",
        plan=("start", "gate", "cutover"), steps={"start": 0.5}, running=True,
    )  # fmt: skip
    assert page.progress(change) == [("start", "done", 0.5), ("gate", "now", None), ("cutover", "next", None)]
    site.publish(lambda document: msgspec.structs.replace(document, changes=(change,)))
    assert 'aria-current="step"' in site.get("/").body
    assert "upgrade in progress" in site.get("/services/web").body
    assert "upgrade in progress" not in site.get("/services/worker").body
    stopped = msgspec.structs.replace(change, running=False)
    site.publish(lambda document: msgspec.structs.replace(document, changes=(stopped,)))
    assert "upgrade was interrupted" in site.get("/").body


@pytest.mark.parametrize(
    ("changes", "changing", "level"),
    [
        ({}, False, "ok"),
        ({"condition": ServiceCondition.MISSING, "healthy": 1}, False, "warn"),
        ({"condition": ServiceCondition.MISSING, "healthy": 0}, False, "bad"),
        ({"condition": ServiceCondition.MISSING, "healthy": 0}, True, "bad"),
        ({"condition": ServiceCondition.SURPLUS}, True, "busy"),
        ({"condition": ServiceCondition.TRAFFIC_DOWN}, False, "bad"),
        ({"condition": ServiceCondition.PAUSED}, False, "held"),
        ({"condition": ServiceCondition.NEVER_DEPLOYED, "healthy": 0}, False, "idle"),
        ({"condition": ServiceCondition.NEEDS_ATTENTION}, False, "warn"),
    ],
)
def test_levels(changes: dict[str, object], changing: bool, level: str) -> None:
    service = ServiceSnapshot(service="web", wanted=2, running=2, healthy=2, condition=ServiceCondition.OK)
    assert page.level(msgspec.structs.replace(service, **changes), changing) == level


def test_a_strip_has_one_part_for_equal_results_in_a_row() -> None:
    assert page.equal_runs("++--?+") == [Run("ok", 0, 2), Run("bad", 2, 2), Run("idle", 4, 1), Run("ok", 5, 1)]
    assert page.equal_runs("") == []


def test_ages_are_coarse_so_that_a_part_seldom_changes() -> None:
    stamps = ("2026-01-31T07:59:59Z", "2026-01-31T07:56:10Z", "2026-01-31T02:59:00Z", "2026-01-29T07:00:00Z", "soon")
    assert [page.age(stamp, NOW) for stamp in stamps] == ["under 1m", "3m", "5h", "2d", "?"]


def test_a_service_page_has_its_definition_and_history(site: Site) -> None:
    body = site.get("/services/web").body
    assert "&#34;image&#34;: &#34;shop&#34;" in body
    assert "<b>upgrade</b> to <code>r1</code>" in body
    assert "worker" not in body


def test_nginx_and_docker_are_shown(site: Site) -> None:
    site.host.traffic.state_now = TrafficState.DOWN
    site.publish(lambda document: msgspec.structs.replace(
        document, status=msgspec.structs.replace(document.status, nginx=TrafficState.DOWN)))  # fmt: skip
    assert '<dt>nginx</dt><dd><span class="badge bad">' in site.get("/").body


def test_services_that_have_not_changed_are_not_rendered_again(site: Site) -> None:
    first = page.Pages(site.source.view(), site.source.log)
    before = first.parts(None)
    site.host.monitor.conditions[site.host.replicas("web")[0].id] = Condition.STARTING
    site.publish()
    after = page.Pages(site.source.view(), site.source.log, first).parts(None)
    assert after["service-worker"] is before["service-worker"]
    assert after["replicas-web"] != before["replicas-web"]
    site.host.clock.advance(7200)
    site.publish()
    assert (
        page.Pages(site.source.view(), site.source.log, first).parts(None)["service-worker"] != before["service-worker"]
    ), "it is older"


def test_log_lines_are_shown_if_they_are_published(site: Site) -> None:
    assert "Latest log lines" not in site.get("/services/web").body
    line = PublishedLine(time="2026-01-31T07:59:59.000000001Z", replica="r1-c1-1", text="<b>failed</b>")
    for log, shown in {
        PublishedLog(complete=True, lines=(line,)): "2026-01-31 07:59:59 r1-c1-1</span> &lt;b&gt;failed&lt;/b&gt;",
        PublishedLog(complete=True, lines=()): "No lines yet.",
        PublishedLog(complete=False, lines=()): "Some lines could not be read.",
    }.items():
        publish_log(site, msgspec.json.encode(log))
        assert shown in site.get("/services/web").body
    assert "Latest log lines" not in site.get("/services/worker").body
    assert "No lines yet" not in site.get("/").body


@pytest.mark.parametrize(
    ("data", "shown"),
    [(b"", True), (b'{"version":1}', True), (b"[" * 10_000, True), (b'{"version":2,"lines":"more"}', False)],
)
def test_log_lines_that_cannot_be_used(site: Site, data: bytes, *, shown: bool) -> None:
    publish_log(site, data)
    answer = site.get("/services/web")
    assert answer.status == 200
    assert ("Some lines could not be read." in answer.body) == shown


def publish_log(site: Site, data: bytes) -> None:
    path = log_path(site.path, "web")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    site.publish()
