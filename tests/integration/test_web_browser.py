"""The status page in a real browser: it follows a live host, has no error, and everybody can read it.

With CONDUCTOR_RECORD=1, the pictures of the manual are written.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from conductor.snapshot.published import published_path
from tests.support.browser import Browser, axe, browser
from tests.support.commands import ROOT, Spawned
from tests.support.host import TestHost
from tests.support.status_page import StatusPage

pytestmark = pytest.mark.long  # it downloads Chromium and axe-core
WAIT_SECONDS = 30.0
LOGS = {"web": {"logs": True}}
MANUAL = ROOT / "conductor" / "manual"
SIZES = {"light": (960, 600, False), "dark": (960, 600, True), "phone": (390, 640, False)}
STEP = 'li[aria-current="step"]'
# Collects every text that an element has for a moment.
WATCH = """
  window.seen = [];
  new MutationObserver(() => {
    const text = document.querySelector(arguments[0])?.innerText;
    if (text && window.seen.at(-1) !== text) window.seen.push(text);
  }).observe(document.querySelector('main'), {childList: true, subtree: true});
"""
SERVICES: dict[str, dict[str, Any]] = {
    "shop": {"count": 3, "health": {"interval": "500ms"}},
    "api": {"health": {"interval": "500ms"}},
    "search": {"health": {"interval": "500ms"}},
    "worker": {"count": 1, "nginx": None},
    "jobs": {"count": 0, "port": None, "health": None, "nginx": None, "command": None,
             "cron": {"generate": ["echo", "30 4 * * * bin/report"]}},
}  # fmt: skip


class Watched:
    """A live host in a browser."""

    def __init__(self, host: TestHost, window: Browser) -> None:
        self.host = host
        self.supervise: Spawned = host.spawn("supervise")
        self.page = StatusPage(host)
        self.window = window
        host.wait_for(lambda: "services are healthy" in self.page.get().body, "all to be well", WAIT_SECONDS)

    def open(self, path: str = "/") -> None:
        self.window.open(f"http://127.0.0.1:{self.page.port}{path}")
        self.wait(lambda: self.window.text("#live").startswith("live"), "a live page")

    def wait(self, condition: Any, what: str) -> None:
        try:
            self.host.wait_for(condition, what, WAIT_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"waited for {what}:\n{self.window.text('body')}\n{self.supervise.stderr}") from error


@pytest.fixture(scope="module")
def watched(images: None) -> Iterator[Watched]:
    with browser() as window, TestHost() as host:
        host.define(SERVICES, host_extra=LOGS)
        host.upgrade("r1", "shop", "--id", "api", "--id", "search", "--id", "worker", "--id", "jobs", check=True)
        yield Watched(host, window)


@pytest.fixture(scope="module")
def axe_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return axe(tmp_path_factory.mktemp("axe"))


@pytest.fixture(autouse=True)
def no_error(watched: Watched) -> Iterator[None]:
    watched.window.show(width=960, height=600)
    watched.window.errors()
    yield
    assert watched.window.errors() == []


def test_an_upgrade_moves_through_its_steps(watched: Watched) -> None:
    watched.open()
    watched.window.run(WATCH, STEP)
    slow = {**SERVICES, "shop": {**SERVICES["shop"], "env": {"BOOT": "4"}}}
    watched.host.define(slow, host_extra=LOGS)
    upgrade = watched.host.spawn("service", "upgrade", "--id", "shop", "--revision", "r2")
    watched.wait(lambda: watched.window.text(".change h2"), "the change in progress")
    save(watched, "change")
    upgrade.wait().expect(0)
    watched.wait(lambda: "revision r2" in watched.window.text("#service-shop"), "the new revision")
    watched.wait(lambda: not watched.window.text(".change h2"), "the end of the change")
    assert "gate now" in [" ".join(text.split()) for text in watched.window.run("return window.seen")]
    assert "upgrade of shop to r2" in watched.window.text("#history")


def test_a_killed_container_turns_and_heals_and_a_pause_appears(watched: Watched) -> None:
    watched.open()
    watched.window.run(WATCH, "h1")
    watched.host.kill(watched.host.containers("api")[0].id)
    watched.wait(lambda: "1 restart in the last hour" in watched.window.text("#service-api"), "the replacement")
    watched.wait(lambda: "services are healthy" in watched.window.text("h1"), "the end of the trouble")
    assert any("needs attention" in text for text in watched.window.run("return window.seen"))
    assert watched.window.run("return document.title").startswith("✓ Conductor on ")
    watched.host.conductor("supervise", "pause", "--id", "search", "--reason", "index is rebuilt", check=True)
    watched.wait(lambda: "index is rebuilt" in watched.window.text("#service-search"), "the pause")
    watched.wait(lambda: "index is rebuilt" in watched.window.text("#headline"), "its reason below the heading")
    assert watched.window.run("return document.title").startswith("‖ Conductor on ")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", ["/", "/services/shop"])
def test_everybody_can_read_it(watched: Watched, axe_source: str, size: str, path: str) -> None:
    width, height, dark = SIZES[size]
    watched.window.show(width=width, height=height, dark=dark)
    watched.open(path)
    if path != "/":
        watched.wait(lambda: watched.window.text("#log"), "the log lines")
        assert watched.window.run("return document.getElementById('log').scrollTop") == 0, "the last line is in view"
    found = watched.window.run(f"{axe_source}; return axe.run()")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []
    assert watched.window.run("return document.documentElement.scrollWidth") <= width, "nothing is cut off"
    if path == "/":
        trouble(watched)
        save(watched, size)


def trouble(watched: Watched) -> None:
    """Let one replica hang, so that the heading has something to say."""
    watched.wait(lambda: "services are healthy" in watched.window.text("h1"), "all to be well")
    running = [one for one in watched.host.containers("api") if one.state == "running"]
    watched.host.daemon.api.pause(running[0].id)
    watched.wait(lambda: "attention" in watched.window.text("h1"), "the trouble")


def save(watched: Watched, name: str) -> None:
    """With CONDUCTOR_RECORD=1, write a picture of the manual."""
    if os.environ.get("CONDUCTOR_RECORD"):
        (MANUAL / f"web-{name}.png").write_bytes(watched.window.screenshot())


def test_the_first_key_leads_to_the_services_in_trouble(watched: Watched) -> None:
    watched.open()
    watched.wait(lambda: "services are healthy" in watched.window.text("h1"), "the end of other troubles")
    reached = []
    for _ in range(3):
        watched.window.press_tab()
        reached.append(watched.window.run("return document.activeElement.getAttribute('href')"))
    assert reached[:2] == ["./", "#service-search"]


def test_without_its_script_the_page_is_complete(watched: Watched) -> None:
    """The script is not loaded. Where scripts are disabled, the page loads itself again."""
    body = watched.page.get().body
    assert '<noscript><meta http-equiv="refresh" content="15"></noscript>' in body
    watched.window.command("Network.enable")
    watched.window.command("Network.setBlockedURLs", urls=["*page.js"])
    try:
        watched.window.open(f"http://127.0.0.1:{watched.page.port}/")
    finally:
        watched.window.command("Network.setBlockedURLs", urls=[])
    assert watched.window.text("#service-shop").startswith("shop")
    assert watched.window.text("#live") == "as of page load"


def test_an_open_page_outlives_its_server(watched: Watched) -> None:
    watched.open()
    watched.page.process.signal(15)
    watched.wait(lambda: watched.window.text("#live") == "not connected, retrying", "the loss of the server")
    watched.host.define({**SERVICES, "later": SERVICES["worker"]}, host_extra=LOGS)
    document = published_path(str(watched.host.runtime_dir))
    watched.host.wait_for(lambda: '"service":"later"' in document.read_text(), "another service")
    watched.page.start()
    watched.wait(lambda: watched.window.text("#service-later"), "the service that was defined meanwhile")
    watched.wait(lambda: watched.window.text("#live").startswith("live"), "the next connection")
    watched.window.errors()  # the browser reports each connection that it could not make
