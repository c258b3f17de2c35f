"""Text that is hostile or damaged: every command ends with a sentence and an exit code of its contract, and changes nothing.

Definitions, ids and revisions, state files, crontabs, environment files and nginx's configuration. Docker's answers are in
`runtime/docker/test_malformed.py`.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conductor.cli import run
from conductor.cron.table import CrontabError, parse
from conductor.definitions.environment import environment
from conductor.definitions.load import load
from conductor.definitions.problems import DefinitionsError
from conductor.errors import ConductorError
from conductor.traffic import grammar
from tests.fakes.world import WEB
from tests.unit.change.test_faults import Prepared, Scenario

EXAMPLES = int(os.environ.get("CONDUCTOR_HOSTILE", "100"))
often = settings(
    max_examples=EXAMPLES, derandomize="CONDUCTOR_HOSTILE" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
DEEP = 5000  # more than Python's recursion limit
HEAD = "version: 1\n"


def nested(opening: str, closing: str) -> str:
    return f"{HEAD}services: {opening * DEEP}{closing * DEEP}"


def aliases(line: Callable[[int], str]) -> str:
    """Each line has ten aliases of the one before: the last one stands for 10^11 values."""
    return HEAD + "".join(line(number) for number in range(1, 12))


def services(count: int, text: str) -> str:
    return HEAD + "services:\n" + "".join(f"  s{number}: {text}\n" for number in range(count))


def million_json_values() -> str:
    """Made by the test that needs it, as this takes long and each worker of pytest imports this module."""
    return '{"version": 1, "services": {"web": {"env": {' + ",".join(f'"A{n}": 1' for n in range(10**6)) + "}}}}"


TOUCHED = "/tmp/conductor-was-here"
DEFINITIONS: dict[str, str | bytes | Callable[[], str]] = {
    "aliases of lists": "a0: &a0 [x]\n" + aliases(lambda n: f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n"),
    "aliases of mappings": "a0: &a0 {a: 1}\n" + aliases(lambda n: f"a{n}: &a{n} {{b: *a{n - 1}, c: *a{n - 1}}}\n"),
    "merge keys": "a0: &a0 {a: 1}\n" + aliases(lambda n: f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}]}}\n"),
    "an alias of itself": f"{HEAD}services: &a {{b: *a}}",
    "a merge of itself": f"{HEAD}services: &a {{<<: *a}}",
    "deep lists": nested("[", "]"),
    "deep mappings": nested("{a: ", "}"),
    "deep blocks": HEAD + "".join(" " * depth + "a:\n" for depth in range(DEEP // 5)),
    "deep JSON": '{"version": 1, "services": ' + '{"a": ' * DEEP + "1" + "}" * (DEEP + 1),
    "10 MB of NUL": "\0" * 10**7,
    "10 MB in a word": f"{HEAD}services: {{web: {{image: {'x' * 10**7}}}}}",
    "10 MB of spaces": " " * 10**7,
    "10 MB of dashes": "- " * (5 * 10**6),
    "10 MB of quotes": "'" * 10**7,
    "10 MB of comments": "#" * 10**7,
    "a million values": f"{HEAD}services: [{'a,' * 10**6}]",
    "a million JSON values": million_json_values,
    "a tag that runs a command": f"{HEAD}services: !!python/object/apply:os.system ['touch {TOUCHED}']",
    "tags of other types": f"{HEAD}services: !!binary aGVsbG8=\nhost: !!set {{a}}\ndefaults: !!omap [a: 1]",
    "tags of wrong types": "version: !!int x\nservices: !!map x\nhost: !!seq {a: 1}\ndefaults: !!str {a: 1}",
    "a local tag": "!foo {version: 1}",
    "duplicate keys": f"{HEAD}{HEAD}services: {{}}\nservices: {{a: {{}}, a: {{}}}}",
    "duplicate JSON keys": '{"version": 1, "services": {}, "services": {"a": 1}}',
    "NUL": HEAD + 'services: {"w\\0b": {image: "a\\0b"}}',
    "a raw NUL": HEAD + "services: {w\0b: {}}",
    "surrogates": HEAD + 'services: {web: {image: "\\ud800"}}',
    "surrogates in JSON": '{"version": 1, "services": {"\\ud800": {"image": "\\udfff"}}}',
    "raw surrogates": (HEAD + "services: {web: {image: \ud800}}").encode(errors="surrogatepass"),
    "right to left": HEAD + 'services: {"w\u202eeb": {"\u202eimage": "\u202e\u2066"}}',
    "control characters": HEAD + 'services: {"\\x1b[31m": {"\\x07": "\\x9b2J", image: "\\x1b]0;x\\x07"}}',
    "UTF-16": "version: 1".encode("utf-16"),
    "keys that are no text": HEAD + "services: {null: {}, 1: {}, 1.5: {}, true: {}, '': {}, ? [a] : 1, ? {b: 1} : 2}",
    "several documents": "--- {version: 1}\n--- {services: {}}",
    "directives": "%YAML 9.9\n%TAG ! tag:x\n---\n!x a",
    "only null": "null",
    "nothing": "",
    "long numbers": f"version: {'9' * 5000}\nservices: {{web: {{image: x, count: {'9' * 5000}}}}}",
    "numbers without an end": '{"version": 1, "services": {"web": {"image": "x", "count": 1e999999, "memory": NaN}}}',
    "a long key": f"{HEAD}services: {{{'a' * 2000}: {{}}}}",
    "500 duplicates": f"{HEAD}services:\n" + "  web: {image: x}\n" * 500,
    "500 services without an image": services(500, "{imag: x}"),
    "500 unknown keys": HEAD + "".join(f"k{number}: 1\n" for number in range(500)),
}  # fmt: skip


def printable(text: str) -> bool:
    """False for what controls a terminal, or shows a text in another order than it has."""
    return re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text) is None


def files(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def refusal(act: Callable[[], object]) -> ConductorError | None:
    """Return the error that ends `act`; any other exception is a failure."""
    try:
        act()
    except ConductorError as error:
        return error
    return None


class Clean:
    """Runs commands, and asserts what every one of them promises."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.config = directory / "services.yml"
        self._capsys = capsys

    def define(self, services: dict[str, Any]) -> None:
        host = {
            "docker": f"unix://{self.directory}/no.sock",
            "state_dir": str(self.directory / "state"),
            "runtime_dir": str(self.directory / "run"),
            "cron": {"dir": str(self.directory)},
        }
        self.config.write_text(json.dumps({"version": 1, "host": host, "services": services}))

    def run(self, *words: str, codes: frozenset[int] = frozenset({1, 2})) -> str:
        """Return what the command printed."""
        before = files(self.directory)
        code = run([*words, "--config", str(self.config)], reports=self.directory / "reports")
        out, err = self._capsys.readouterr()
        assert code in codes, err[:2000]
        assert "Traceback" not in out + err
        assert printable(err), repr(err[:500])
        assert not code or "error: cannot " in err or out, err[:500]
        after = {
            path: data
            for path, data in files(self.directory).items()
            if path.parts[-2] != "locks" and path.name != "history.jsonl"
        }
        assert after == {
            path: data for path, data in before.items() if path.parts[-2] != "locks" and path.name != "history.jsonl"
        }
        return out + err


@pytest.fixture
def clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Clean:
    return Clean(tmp_path, capsys)


# Definitions.


LARGE = {
    "10,000 duplicates": f"{HEAD}services:\n" + "  web: {image: x}\n" * 10_000,
    "10,000 services without an image": services(10_000, "{imag: x}"),
    "20,000 unknown keys": HEAD + "".join(f"k{number}: 1\n" for number in range(20_000)),
}


@pytest.mark.parametrize("name", [*DEFINITIONS, *(pytest.param(name, marks=pytest.mark.long) for name in LARGE)])
def test_definitions(clean: Clean, name: str) -> None:
    found = {**DEFINITIONS, **LARGE}[name]
    text = found() if callable(found) else found
    clean.config.write_bytes(text if isinstance(text, bytes) else text.encode())
    clean.run("config", "check", codes=frozenset({2}))
    if len(text) < 10**5:
        clean.run("service", "upgrade", "--id", "web", "--revision", "r1", codes=frozenset({2}))
    assert not Path(TOUCHED).exists()


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
def test_many_services_are_read(clean: Clean, count: int) -> None:
    clean.config.write_text(services(count, "{image: x, count: 1, health: {none: true}}"))
    clean.run("config", "check", codes=frozenset({0}))


def test_values_are_counted_before_they_take_memory(clean: Clean, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "compose", None)
    clean.config.write_text(DEFINITIONS["a million values"])  # type: ignore[arg-type]
    clean.run("config", "check", codes=frozenset({2}))


SAMPLE = """\
version: 1
host: {instance: a, network: {subnet: 10.9.0.0/24}}
defaults: &d {image: x, env: {A: "1", B: {file: /nowhere}}}
services:
  web: {<<: *d, count: 2, port: 80, health: {path: /, headers: {H: "1"}}, nginx: {server: {listen: ["80"], names: [a.example]}}}
  worker: {health: {command: [a, b]}, volumes: ["/a:/b:ro"], stop: {grace: 1m}, memory: 1GiB, cpus: 1.5, cron: {generate: [x]}}
"""
FRAGMENTS = ("\0", "\x1b", "\u202e", "\ud800", "&a ", "*d", "!!x ", "<<", "{", "}", "[", "]", ":", "\n", "\t", "- ", '"', "'", "|", ">", "?",
             "~", "null", "0x1", "1e9", ".inf", "9" * 30, "x" * 500, "\ufeff", "%", "@", "`", "#", "-1", "../../etc", "${A}", "{{ a }}")  # fmt: skip


@often
@given(
    st.lists(
        st.tuples(st.integers(0, len(SAMPLE)), st.integers(0, 8), st.sampled_from(FRAGMENTS)), min_size=1, max_size=4
    )
)
def test_damaged_definitions(tmp_path: Path, damages: list[tuple[int, int, str]]) -> None:
    text = SAMPLE
    for at, removed, fragment in damages:
        text = text[:at] + fragment + text[at + removed :]
    path = tmp_path / "services.yml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    try:
        definitions = load(path)
    except DefinitionsError as error:
        found = error.problems
    else:
        found = definitions.problems
    assert all(printable(str(one)) for one in found)


# Ids and revisions.

WORDS = (
    "", " ", "..", "../web", "/etc/passwd", "web/../web", "-web", "--force", "WEB", "wéb", "w\u202eeb", "web\n", "web\x1b[31m", "web\udcff", "web;id",
    "web$(id)", "web`id`", "web'", 'web"', "web\\", "web*", "w" * 64, "w" * 100_000, "web web", "web\t", "1" * 5000, "%s", "{0}", "web:r1", "web@sha256:0", ".",
)  # fmt: skip


@pytest.mark.parametrize("word", WORDS, ids=range(len(WORDS)))
def test_ids_and_revisions(clean: Clean, word: str) -> None:
    clean.define({"web": {**WEB}})
    for command in (
        ["service", "upgrade", "--revision", "r1"],
        ["run", "--detach"],
        ["cron", "install"],
        ["service", "stop"],
    ):
        tail = ["true"] if command[0] == "run" else []
        before = files(clean.directory)
        code = run(
            [*command, f"--id={word}", "--config", str(clean.config), *tail], reports=clean.directory / "reports"
        )
        out, err = clean._capsys.readouterr()
        assert code in {2, 125}, err
        assert printable(err), repr(err)
        assert "Traceback" not in out + err
        assert files(clean.directory) == before
    for command in (["service", "upgrade"], ["service", "rollback"], ["cron", "install"]):
        option = "--to" if "rollback" in command else "--revision"
        clean.run(*command, "--id=web", f"{option}={word}")


# State files.

JSON: dict[str, bytes] = {
    "empty": b"",
    "zeros": b"\0" * 4096,
    "null": b"null",
    "a list": b"[]",
    "a word": b'"x"',
    "cut": b'{"version":1,"service":"we',
    "deep": b'{"version":1,"service":"web","x":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep and cut": b'{"a":' * DEEP,
    "deep where a type is": b'{"version":1,"service":"web","release":'
    + b'{"definition":' * DEEP
    + b"1"
    + b"}" * DEEP
    + b"}",
    "no UTF-8": b'{"service":"\xff"}',
    "surrogates": b'{"service":"\\ud800"}',
    "a long version": b'{"version":' + b"9" * 5000 + b"}",
    "a newer version": b'{"version":2,"service":"web"}',
    "a version that is no number": b'{"version":"1","service":"web"}',
    "a fraction": b'{"version":1.5,"service":"web"}',
    "wrong types": b'{"version":1,"service":[],"release":7,"kept":{},"reserved":[],"images":0,"services":[1],"host":[]}',
    "of another service": b'{"version":1,"service":"api"}',
    "a path": b'{"version":1,"service":"../../web"}',
    "1 MB": b'{"version":1,"service":' + b" " * 10**6,
}
STATE = (
    "services/web.json", "journal/web.json", "addresses.json", "host.json", "history.jsonl", "jobs/web/k.json", "images/web.json", "gc.json",
    "reported.json", "notify/web.json", "traffic.json", "logs/web/web-1.log",
)  # fmt: skip
ACTED_ON = ("services/web.json", "journal/web.json", "addresses.json", "images/web.json", "history.jsonl")
QUERIES = (
    ("service", "list"), ("service", "status"), ("service", "status", "--json"), ("service", "history"), ("service", "logs", "--id", "web"),
    ("cron", "list"), ("cron", "show", "--id", "web"), ("supervise", "status"), ("gc", "--plan"),
)  # fmt: skip


@pytest.mark.parametrize("kind", JSON)
def test_state_files_in_queries(clean: Clean, kind: str) -> None:
    clean.define({"web": {**WEB, "cron": {"generate": ["x"]}}})
    for name in (*STATE, "run/supervise.json"):
        path = clean.directory / ("" if name.startswith("run/") else "state") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JSON[kind])
    for words in QUERIES:
        clean.run(*words, codes=frozenset({0, 1, 2, 4}))


@pytest.mark.parametrize("kind", JSON)
def test_state_files_in_actions(tmp_path: Path, kind: str) -> None:
    """An upgrade works, or is refused: then nothing runs that did not run before, and the file keeps what it had."""
    host = Prepared(tmp_path, Scenario({"web": WEB, "api": WEB}, lambda world: world.upgrade("r2", "web"), {}))
    for name in ACTED_ON:
        world = host.world()
        path = world.store.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JSON[kind])
        other = world.store.wanted("api")
        if refused := refusal(lambda world=world: world.upgrade("r2", "web")):  # type: ignore[misc]
            assert printable(refused.sentence)
            assert world.running() == {"r1": 2}
            assert path.read_bytes() == JSON[kind]
        assert world.store.wanted("api") == other
        assert world.runtime.lost == []


# Crontabs.

CRON = ("* * * * * ", "*/5 ", "0 ", "@daily ", "x", "%", "\\", "\\%", "'", '"', "`", "$(", "${", "((", "\n", "\r", "\0", "\t", "=", "A=", 'A="', "#", "*", ",", "-", "/",
        "~", "jan", "9" * 400, "\x1b[31m", "\u202e", "\ud800", "case x in ", "<<E", ";;", "&", "|", " ", "x" * 1100, "\ufeff", "٣", "2>&1", "if ", "done ")  # fmt: skip


@often
@given(st.lists(st.sampled_from(CRON), max_size=25).map("".join) | st.binary(max_size=80))
def test_crontabs(text: str | bytes) -> None:
    refused = refusal(lambda: parse(text))
    assert refused is None or isinstance(refused, CrontabError)
    assert refused is None or all(printable(one) for one in refused.details)


@pytest.mark.parametrize(
    "text",
    ["\n" * 10**5, "* * * * * " + "x" * 10**6, ",".join(["1"] * 10**5) + " * * * * x", "x\n" * 20_000, "=" * 10**6],
)
def test_long_crontabs(text: str) -> None:
    refused = refusal(lambda: parse(text))
    assert refused is None or max(len(one) for one in refused.details) < 500


# Environment files.

SECRET = "hunter2"
PAIRS = (
    f"A={SECRET}",
    f"A {SECRET}",
    f"={SECRET}",
    f'A="{SECRET}',
    f"export A={SECRET}",
    "\n",
    "\r\n",
    "\0",
    "#",
    "=",
    "A",
    "\ufeff",
    "\x1b",
    "\u202e",
    "\x85",
    " ",
    "é=",
)


@often
@given(
    st.lists(st.sampled_from(PAIRS), max_size=12).map(lambda parts: "".join(parts).encode())
    | st.binary(max_size=60).map(lambda data: data + b"=hunter2")
)
def test_environment_files(tmp_path: Path, data: bytes) -> None:
    """No message quotes what is in the file."""
    path = tmp_path / "env"
    path.write_bytes(data)
    config = tmp_path / "services.yml"
    config.write_text(
        f"version: 1\nservices: {{web: {{image: x, count: 0, env_file: {{path: {path}, secret: true}}, health: {{none: true}}}}}}"
    )
    try:
        found = environment(load(config).service("web").service)
    except ConductorError as error:
        told = "\n".join([error.sentence, error.hint, *error.details])
        assert SECRET not in told
        assert printable(told)
    else:
        assert SECRET not in repr(found)


# nginx's configuration.

NGINX = ("server ", "{", "}", ";", "include ", "a.conf", "*", '"', "'", "\\", "${", "$", "#", "\n", " ", "x_by_lua_block ", "[[", "]]", "--[[", "--", "upstream ", "\0",
         "# configuration file /etc/nginx/a.conf:\n", "# configuration file /:\n", "\ud800", "listen 80", "pid ", "../", "[", "é")  # fmt: skip


@often
@given(st.lists(st.sampled_from(NGINX), max_size=40).map("".join))
def test_dumps_of_nginx(tmp_path: Path, dump: str) -> None:
    for found in (grammar.of_dump(dump), grammar.everywhere(dump), grammar.options(dump), *grammar.servers(dump)):
        assert all(one.name is not None for one in found)
    path = tmp_path / "a.conf"
    path.write_bytes(dump.encode(errors="surrogatepass"))
    grammar.of_file(path)


@pytest.mark.parametrize(
    "text",
    [
        '"' + "a" * 10**6,
        "\\" * 10**6,
        "{" * 10**5,
        "}" * 10**5,
        "${" * 10**5,
        "x_by_lua_block {[[" * 10**3,
        "include a; " * 10**4,
    ],
)
def test_long_dumps(text: str) -> None:
    grammar.everywhere(text)
    list(grammar.servers(f"# configuration file /etc/nginx/a:\nserver {{ {text}"))


def test_a_file_that_includes_itself_many_times(tmp_path: Path) -> None:
    """nginx refuses it, and Conductor reads it before nginx does."""
    path = tmp_path / "nginx.conf"
    path.write_text(f"include {path};\n" * 20)
    assert len(grammar.of_file(path)) == 20
