"""The status page of a real host: it follows deploys, failures and pauses, and Prometheus reads its metrics."""

import base64
import contextlib
import json
import re
import socket
import ssl
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import ROOT, Spawned
from tests.support.host import TestHost
from tests.support.status_page import StatusPage

EXAMPLES = ROOT / "examples"
RULES = EXAMPLES / "prometheus" / "conductor.rules.yml"
DASHBOARD = EXAMPLES / "prometheus" / "conductor.dashboard.json"
WAIT_SECONDS = 30.0
SECRET = "hunter2-hunter2"
CONNECTIONS = 500
SERVICES: dict[str, dict[str, Any]] = {
    "web": {"health": {"interval": "500ms"}},
    "new": {},
    "jobs": {"image": "conductor-test-app", "count": 0, "port": None, "health": None, "nginx": None,
             "cron": {"generate": ["echo", "1 1 1 1 * echo a"]}},
    "echo": {"image": "conductor-test-app", "count": 1, "port": None, "nginx": None, "init": True,
             "health": {"path": None, "command": ["true"]},
             "command": ["sh", "-c", 'echo "began with $TOKEN"; printf "\\033[1mbold\\n"; exec sleep 1000']},
}  # fmt: skip


class Shown:
    """A host with its status page. `supervise` is restarted by tests."""

    def __init__(self, host: TestHost) -> None:
        self.host = host
        self.supervise: Spawned = host.spawn("supervise")
        self.page = StatusPage(host)
        self.wait(lambda: self.page.get().status == 200, "the first document")

    def wait(self, condition: Any, what: str) -> None:
        try:
            self.host.wait_for(condition, what, WAIT_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.page.get('/status.json').body}\n{self.supervise.stderr}") from error

    def define(self, services: dict[str, dict[str, Any]]) -> None:
        define(self.host, services)

    def is_well(self) -> bool:
        return "services are healthy" in self.page.get().body


def define(host: TestHost, services: dict[str, dict[str, Any]]) -> None:
    """With log lines on the page. The service `echo` prints a secret."""
    echo = {**services["echo"], "env": {"TOKEN": {"file": str(host.directory / "token")}}}
    host.define({**services, "echo": echo}, host_extra={"web": {"logs": True}})


@pytest.fixture(scope="module")
def shown(images: None) -> Iterator[Shown]:
    with TestHost() as host:
        (host.directory / "token").write_text(f"{SECRET}\n")
        define(host, SERVICES)
        host.upgrade("r1", "web", "--id", "jobs", "--id", "echo", check=True)
        made = Shown(host)
        made.wait(made.is_well, "all services to be well")
        yield made
        made.supervise.end()
        made.page.process.end()


def test_status_json_is_what_service_status_prints(shown: Shown) -> None:
    published = json.loads(shown.page.get("/status.json").body)
    printed = json.loads(shown.host.conductor("service", "status", "--json", check=True).stdout)
    for document in (published, printed):
        document.pop("time")
        for replica in (replica for service in document["services"] for replica in service["replicas"]):
            assert replica.pop("memory")
            assert replica.pop("started")  # in milliseconds, from the time since the boot
    assert published == printed


def test_an_upgrade_moves_through_its_steps_on_an_open_page(shown: Shown) -> None:
    with shown.page.opened() as page:
        shown.wait(lambda: "headline" in page.parts, "the parts of the page")
        shown.define({**SERVICES, "web": {**SERVICES["web"], "env": {"BOOT": "3"}}})
        shown.host.upgrade("r2", check=True)
        shown.wait(lambda: "<code>r2</code>" in page.parts["service-web"], "the new revision")
        shown.wait(lambda: not page.parts["changes"].strip(), "the end of the change")
        shown.wait(lambda: "<code>r2</code>" in page.parts["history"], "the entry of the history")
    current = [
        found[1] for text in page.seen["changes"] if (found := re.search(r'aria-current="step"><span>(\w+)<', text))
    ]
    assert "gate" in current
    assert current == sorted(current, key=("start", "gate", "cutover", "commit", "drain", "retire", "history").index)


def test_a_killed_replica_turns_and_heals_and_a_pause_appears(shown: Shown) -> None:
    with shown.page.opened() as page:
        shown.wait(lambda: "service-web" in page.parts, "the parts of the page")
        shown.host.kill(shown.host.containers("web")[0].id)
        shown.wait(
            lambda: "restart" in page.parts["service-web"] and " ok</span>" in page.parts["service-web"],
            "a replacement",
        )
        assert any(
            "missing" in text or "attention" in text for text in (*page.seen["service-web"], *page.seen["headline"])
        )
        shown.host.conductor("supervise", "pause", "--id", "web", "--reason", "<i>disk</i>", check=True)
        shown.wait(lambda: "&lt;i&gt;disk&lt;/i&gt;" in page.parts["service-web"], "the pause with its reason")
        shown.host.conductor("supervise", "resume", "--id", "web", check=True)
        shown.wait(lambda: "paused" not in page.parts["service-web"], "the end of the pause")


def test_checks_that_fail_are_in_the_strip(shown: Shown) -> None:
    body = shown.page.get("/services/web").body
    assert 'aria-label="of the last' in body
    assert '"image": "conductor-test-app"'.replace('"', "&#34;") in body


def test_log_lines_of_a_replica_that_runs_and_of_one_that_was_removed(shown: Shown) -> None:
    host = shown.host
    shown.wait(lambda: "began with [secret]" in shown.page.get("/services/echo").body, "the lines on the page")
    with shown.page.opened("/events?service=echo") as page:
        shown.wait(lambda: "log" in page.parts, "the parts of the page")
        host.kill(host.containers("echo")[0].id)
        shown.wait(lambda: page.parts["log"].count("began with [secret]") == 2, "the line of the next replica")
    assert "\\u001b[1mbold" in page.parts["log"]
    published = list((host.runtime_dir / "public").rglob("*.json"))
    assert {path.name for path in published} == {"host.json", *(f"{name}.json" for name in SERVICES)}
    assert not any(SECRET in path.read_text() for path in published)


def test_supervise_is_killed_and_started_again_while_a_page_is_open(shown: Shown) -> None:
    with shown.page.opened() as page:
        shown.wait(lambda: "headline" in page.parts, "the parts of the page")
        shown.supervise.signal(15)
        shown.wait(lambda: "supervise has not been running since" in page.parts["headline"], "the end of supervise")
        assert json.loads(shown.page.get("/status.json").body)["supervise_running"] is False
        assert "conductor_supervise_up 0.0" in shown.page.get("/metrics").body
        shown.supervise = shown.host.spawn("supervise")
        shown.wait(lambda: "services are healthy" in page.parts["headline"], "the next supervise")


def test_the_process_has_no_child_and_no_connection(shown: Shown) -> None:
    pid = shown.page.process.pid
    assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""

    def is_open() -> bool:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if link.readlink().is_relative_to(shown.host.directory / "run"):
                    return True
        return False

    shown.wait(lambda: not is_open(), "the document to be closed")


def test_500_connections_and_slow_readers(shown: Shown) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(CONNECTIONS):
            made = stack.enter_context(socket.create_connection(("127.0.0.1", shown.page.port), 10))
            if number % 2:
                made.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")  # and never reads
            else:
                made.sendall(b"GET / HT")  # and never ends it
        answers = shown.page.get()
        assert answers.status in {200, 503}, "an answer, or a refusal, and no hang"
    shown.wait(lambda: shown.page.get().status == 200, "an answer once they are gone")
    assert shown.page.process.running()


def test_a_host_header_of_somebody_else(shown: Shown) -> None:
    assert shown.page.get("/", Host="evil.example").status == 421
    assert shown.page.get("/metrics", Host=f"localhost:{shown.page.port}").status == 200


def test_sigterm_ends_it_although_pages_are_open(shown: Shown) -> None:
    with shown.page.opened():
        shown.page.process.signal(15)
        shown.page.process.wait(10)  # a page stays open for ever
    shown.page.start()


# nginx/status.conf
def test_nginx_in_front_asks_for_a_password_and_passes_events_on(shown: Shown) -> None:
    host, port = shown.host, shown.host.port("status tls")
    directory = host.directory
    unix = host.spawn("web", "--listen", f"unix:{directory}/web.sock", "--runtime-dir", str(host.runtime_dir))
    shown.wait((directory / "web.sock").exists, "the socket")
    (directory / "web.sock").chmod(0o666)
    names = ["-subj", "/CN=status.example.com", "-addext", "subjectAltName=DNS:status.example.com"]
    pair = ["-keyout", directory / "status.key", "-out", directory / "status.pem"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *pair, *names], check=True, capture_output=True
    )
    (directory / "status.htpasswd").write_text("ops:{PLAIN}good\n")
    text = (EXAMPLES / "nginx" / "status.conf").read_text()
    for before, after in {
        "listen 443": f"listen 127.0.0.1:{port}", "/etc/ssl/certs/status.example.com.pem": directory / "status.pem",
        "/etc/ssl/private/status.example.com.key": directory / "status.key",
        "/etc/nginx/status.htpasswd": directory / "status.htpasswd", "/run/conductor-web.sock": directory / "web.sock",
        "allow 192.0.2.10": "allow 127.0.0.1",
    }.items():  # fmt: skip
        assert before in text
        text = text.replace(before, str(after))
    host.nginx.add_server("status", text)
    assert host.nginx.test().returncode == 0, host.nginx.test().stderr
    host.nginx.reload()
    context = ssl.create_default_context(cafile=directory / "status.pem")

    def ask(path: str, password: str = "") -> Any:
        request = urllib.request.Request(f"https://status.example.com:{port}{path}")
        if password:
            request.add_header("Authorization", "Basic " + base64.b64encode(f"ops:{password}".encode()).decode())
        return opener.open(request, timeout=10)

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with resolved("status.example.com"):
        host.wait_for(lambda: status_of(lambda: ask("/")) == 401, "the new nginx")
        assert status_of(lambda: ask("/", "bad")) == 401
        assert "services are healthy" in ask("/", "good").read().decode()
        assert "conductor_supervise_up" in ask("/metrics").read().decode()
        with ask("/events", "good") as events:
            assert events.readline() == b"retry: 2000\n"
    unix.end()


@contextlib.contextmanager
def resolved(name: str) -> Iterator[None]:
    """Let a name lead to this machine for as long as the block lasts."""
    real = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *more, **options: real("127.0.0.1" if host == name else host, *more, **options)
    try:
        yield
    finally:
        socket.getaddrinfo = real


def status_of(call: Any) -> int:
    try:
        return int(call().status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


# prometheus/conductor.rules.yml, prometheus/conductor.dashboard.json
def test_prometheus_scrapes_it_and_the_rules_see_prepared_troubles(shown: Shown, tmp_path: Path) -> None:
    """The alerts fire after a second, not after minutes or days: `promtool test rules` tests the times."""
    host, port = shown.host, shown.host.port("prometheus")
    config, rules = tmp_path / "prometheus.yml", tmp_path / "rules.yml"
    rules.write_text(re.sub(r"for: \w+", "for: 1s", RULES.read_text()))
    config.write_text(json.dumps({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "conductor", "static_configs": [{"targets": [f"127.0.0.1:{shown.page.port}"]}]}],
    }))  # fmt: skip
    words = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/tsdb",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        shown.wait(
            lambda: by_service(port, "conductor_service_healthy") == {"web": "2", "new": "0", "jobs": "0", "echo": "1"},
            "samples",
        )
        assert query(port, "ALERTS") == [], "neither a healthy nor an undeployed service raises an alert"
        assert [one for one in dashboard_queries() if query(port, one) is None] == []
        shown.define({**SERVICES, "new": {"count": "many"}})
        host.conductor("supervise", "pause", "--id", "web", "--reason", "both at once", check=True)
        for one in host.containers("web"):
            host.daemon.api.pause(one.id)
        shown.wait(lambda: "web" in firing(port, "ConductorServiceDown"), "ConductorServiceDown")
        shown.wait(lambda: firing(port, "ConductorDefinitionsInvalid"), "ConductorDefinitionsInvalid")
        shown.supervise.kill()
        shown.wait(lambda: firing(port, "ConductorSuperviseDown"), "ConductorSuperviseDown")
        shown.page.process.kill()
        shown.wait(lambda: firing(port, "ConductorUnknown"), "ConductorUnknown")
    finally:
        process.terminate()
        process.wait(20)


def query(port: int, expression: str) -> list[dict[str, Any]] | None:
    """Return Prometheus's result; None if it rejects the expression or does not answer."""
    url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(expression)}"
    with contextlib.suppress(OSError), urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found
    return None


def by_service(port: int, expression: str) -> dict[str, str]:
    return {one["metric"].get("service", ""): one["value"][1] for one in query(port, expression) or []}


def firing(port: int, alert: str) -> dict[str, str]:
    return by_service(port, f'ALERTS{{alertname="{alert}", alertstate="firing"}}')


def dashboard_queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [
        target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")
        for panel in panels
        for target in panel["targets"]
    ]
