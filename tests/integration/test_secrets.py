"""Values of secrets are in the environment of containers, and in no file, log, label or output of Conductor."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conductor.state.store import Store
from tests.support.aftermath import QUICK
from tests.support.commands import Result
from tests.support.host import TestHost, merged

# An app that logs its secrets and puts them into every answer of its health check.
LEAKY = """
import http.server, json, os, time
well_until = time.monotonic() + float(os.environ["WELL_SECONDS"])
values = [os.environ[name] for name in ("TOKEN", "KEY", "PASSWORD")]
print("\\n".join(values), flush=True)
print(json.dumps(values), repr(values), flush=True)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (" ".join(values) if "long" not in self.path else "x" * 190 + values[0]).encode()
        self.send_response_only(200 if time.monotonic() < well_until else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.HTTPServer(("", 8080), Answer).serve_forever()
"""
SECRETS = {
    "plain": "tok-3f9c1d77aa20be",
    "quotes and umlauts": "p\\a'ss\"wörd-5f81-\t-x",
    "several lines": "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----",
}
ENV_FILE_SECRET = "pw-77ab0c9d2e#=$HOME`x"
QUERIES = [
    ("service", "list"),
    ("service", "list", "--json"),
    ("service", "status"),
    ("service", "status", "--json"),
    ("config", "show"),
    ("config", "show", "--json"),
    ("config", "check", "--files"),
    ("nginx", "show"),
    ("nginx", "install"),
]


class Secrets:
    """A host whose service has secrets from files and from an env file."""

    def __init__(self, host: TestHost) -> None:
        self.host = host
        self.values = {"TOKEN": SECRETS["plain"], "PASSWORD": ENV_FILE_SECRET}
        self.directory = host.directory / "secrets"
        self.directory.mkdir(mode=0o700)
        env_file = self.directory / "app.env"
        env_file.write_text(f"# the app's\nPASSWORD={ENV_FILE_SECRET}\n")
        self.service = merged(QUICK, {"env_file": str(env_file), "env": {"PLAIN": "visible", "WELL_SECONDS": "0"}})

    def define(self, key: str = SECRETS["quotes and umlauts"], **more: object) -> None:
        self.values["KEY"] = key
        for name in ("TOKEN", "KEY"):
            (self.directory / name).write_text(f"{self.values[name]}\n")
        env = {name: {"file": str(self.directory / name)} for name in ("TOKEN", "KEY")}
        self.host.define({"web": merged(self.service, {"env": env, **more})})

    def needles(self) -> list[str]:
        """Return what must not be found: values, their lines, and both as JSON and Python write them."""
        found = set()
        for value in self.values.values():
            for part in (value, *value.splitlines()):
                found |= {part, json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1], repr(part)[1:-1]}
                found |= {part[:10], part[-10:]}
        return sorted(found)

    def assert_not_in(self, where: str, text: str) -> None:
        leaked = [needle for needle in self.needles() if needle in text]
        assert leaked == [], f"{where} holds {leaked}:\n{text}"


@pytest.fixture
def secrets(host: TestHost) -> Iterator[Secrets]:
    """Afterwards search all files of Conductor and nginx, and all labels."""
    made = Secrets(host)
    yield made
    for root in (host.state_dir, host.runtime_dir, host.nginx.directory, host.cron_dir, host.directory / "output"):
        for path in root.rglob("*"):
            if path.is_file():
                made.assert_not_in(str(path), path.read_text(errors="replace"))
    for container in host.containers():
        inspected = host.daemon.api.inspect_container(container.id)
        made.assert_not_in("labels", json.dumps(inspected["Config"]["Labels"], ensure_ascii=False))
        made.assert_not_in("a name", inspected["Name"])


def environment(host: TestHost, revision: str) -> dict[str, str]:
    """Return the environment of the container of a revision."""
    (container,) = [c for c in host.containers("web") if c.revision == revision]
    pairs = host.daemon.api.inspect_container(container.id)["Config"]["Env"]
    return dict(pair.split("=", 1) for pair in pairs)


@contextmanager
def watched(host: TestHost) -> Iterator[dict[str, str]]:
    """Collect all command lines of the machine and all journals, again and again."""
    seen: dict[str, str] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            over.wait(0.005)
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                seen[words] = "a command line"
            for path in (host.state_dir / "journal").glob("*"):
                try:
                    seen[path.read_text()] = "the journal"
                except OSError:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_a_changed_secret_file_is_drift_that_an_upgrade_to_the_live_revision_applies(secrets: Secrets) -> None:
    host = secrets.host
    secrets.define()
    host.upgrade("r1", check=True)
    assert "nothing to do" in host.upgrade("r1", check=True).stderr
    secrets.values["TOKEN"] = "tok-7e21aa90c4d5f1"
    secrets.define()
    [row] = json.loads(host.conductor("service", "status", "--json", check=True).stdout)["services"]
    assert [note["changed"] for note in row["notes"] if note["kind"] == "drifted"] == [["environment"]]
    host.upgrade("r1", check=True)
    assert environment(host, "r1")["TOKEN"] == secrets.values["TOKEN"]
    [row] = json.loads(host.conductor("service", "status", "--json", check=True).stdout)["services"]
    assert "drifted" not in [note["kind"] for note in row["notes"]]


@pytest.mark.parametrize("key", SECRETS.values(), ids=SECRETS)
def test_an_upgrade_and_all_queries(secrets: Secrets, key: str) -> None:
    host = secrets.host
    secrets.define(key)
    with watched(host) as seen:
        results = [host.upgrade("r1", check=True), host.upgrade("r2", "web", "--json", check=True)]
        results.append(host.upgrade("r3", "web", "--plan", check=True))
    results += [host.conductor(*words, check=True) for words in QUERIES]
    assert {"a command line", "the journal"} <= set(seen.values())
    assert any("conductor service upgrade" in words for words in seen)
    for text, what in seen.items():
        secrets.assert_not_in(what, text)
    for result in results:
        secrets.assert_not_in(" ".join(result.words), result.output)
    given = environment(host, "r2")
    assert {name: given[name] for name in secrets.values} == secrets.values
    assert given["PLAIN"] == "visible"
    assert set(json.loads(host.get("/env").body)["names"]) >= {"PLAIN", *secrets.values}


TOLD = [*((key, "/health") for key in SECRETS), ("plain", "/long")]


@pytest.mark.parametrize(("key", "path"), [(SECRETS[key], path) for key, path in TOLD], ids=map(" ".join, TOLD))
def test_an_app_that_logs_them_while_it_fails(secrets: Secrets, key: str, path: str) -> None:
    """In its log and in the body of its health check. With /long the body is cut in the middle of a value."""
    host = secrets.host
    secrets.define(key)
    host.upgrade("r1", check=True)
    health = {"path": path, "start_timeout": "4s"}
    secrets.define(key, command=["python3", "-c", LEAKY], health=health)
    with watched(host) as seen:
        results: list[Result] = [host.upgrade("r2").expect(1), host.upgrade("r2", "web", "--json").expect(1)]
    for result in results:
        assert "[secret]" in result.output, str(result)
        assert "status 500" in result.output
        secrets.assert_not_in(" ".join(result.words), result.output)
    for text, what in seen.items():
        secrets.assert_not_in(what, text)
    assert host.revisions() == ["r1"]
    assert environment(host, "r1")["KEY"] == key


@pytest.mark.parametrize("readable", [True, False], ids=["its files are there", "its files are gone"])
def test_an_app_that_answers_with_them_when_it_becomes_unhealthy_later(secrets: Secrets, readable: bool) -> None:
    """`status` shows the answers of health checks, which must not contain secrets either."""
    host = secrets.host
    secrets.service = merged(secrets.service, {"env": {"WELL_SECONDS": "2"}})
    secrets.define(command=["python3", "-c", LEAKY])
    host.upgrade("r1", check=True)
    host.wait_for(lambda: host.get().status == 500, "the app to become unhealthy")
    if not readable:
        for path in secrets.directory.iterdir():
            path.unlink()
    for words in QUERIES[:4]:
        result = host.conductor(*words, check=True)
        secrets.assert_not_in(" ".join(words), result.output)
        if "status" in words:
            assert "[secret]" in result.output or not readable, str(result)
            assert "status 500" in result.output, str(result)


SAYS = ["sh", "-c", 'echo "the key is $KEY"; exec python3 -I -S -B /app/app.py']


def _rotated(secrets: Secrets) -> None:
    (secrets.directory / "KEY").write_text("another value")


def _dropped(secrets: Secrets) -> None:
    secrets.host.define({"web": merged(QUICK, {"command": SAYS})})


def _unreadable(secrets: Secrets) -> None:
    (secrets.directory / "KEY").unlink()
    secrets.host.define({"web": merged(QUICK, {"command": SAYS})})


@pytest.mark.parametrize(("since", "said"), [(_rotated, "[secret]"), (_dropped, "[secret]"), (_unreadable, None)])
def test_the_log_that_is_kept_of_an_older_release(
    secrets: Secrets, since: Callable[[Secrets], None], said: str | None
) -> None:
    """Its secrets are those in its environment, also when the definition and the files have changed."""
    host = secrets.host
    secrets.define("key-77e0c1a9", command=SAYS)
    host.upgrade("r1", check=True)
    since(secrets)
    host.upgrade("r2", check=True)
    store = Store(host.state_dir)
    kept = [store.kept_log("web", name) for name in store.kept_logs("web") if name.startswith("web-r1-")]
    assert [log.lines[0].text for log in kept if log] == ([f"the key is {said}"] if said else [])
