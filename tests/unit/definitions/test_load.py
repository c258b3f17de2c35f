"""A valid file: defaults, anchors, JSON, digests, and the stored form of a definition."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import conductor
from conductor.definitions.explain import convert, explain
from conductor.definitions.grammar import tmpfs_mount
from conductor.definitions.host import Notify
from conductor.definitions.load import Definitions, load, restore
from conductor.definitions.model import EnvFile, Health, Service
from conductor.definitions.problems import DefinitionsError
from conductor.definitions.scalars import Period, Seconds
from conductor.definitions.section import SecretRef
from conductor.definitions.tree import EMPTY, merge, plain, tree
from conductor.errors import UsageError

Read = Callable[[str], Definitions]
EXAMPLE = Path(conductor.__file__).parent / "templates/services.example.yml"


def job(read: Read, body: str, top: str = "") -> Service:
    return read(f"version: 1\n{top}\nservices:\n  job: {{image: x, count: 0, {body}}}\n").service("job").service


def test_defaults_are_merged(read: Read) -> None:
    top = "defaults: {stop: {signal: SIGQUIT, grace: 1m}, tmpfs: [/a, /b], env: {A: x, B: y}, memory: 1GiB}"
    service = job(read, "stop: {grace: 5s}, tmpfs: [/c], env: {B: null, C: z}, memory: null", top)
    assert (service.stop.signal, service.stop.grace) == ("SIGQUIT", 5)
    assert service.tmpfs == ("/c",)
    assert service.env == {"A": "x", "C": "z"}
    assert service.memory is None


@pytest.mark.parametrize("listen", ["80", '"80"', "[80]", '["80"]'])
def test_one_value_stands_for_a_list_of_one(read: Read, listen: str) -> None:
    server = f"nginx: {{server: {{listen: {listen}, names: a.example}}}}, port: 1, health: {{path: /}}"
    for top, body in (("", server), (f"defaults: {{{server}}}", "order: start-first")):
        nginx = job(read, body, top).nginx
        assert nginx is not None
        assert nginx.server is not None
        assert (nginx.server.listen, nginx.server.names) == (("80",), ("a.example",))


def test_required_keys_may_come_from_defaults(read: Read) -> None:
    text = "version: 1\ndefaults: {image: x, before_upgrade: {timeout: 5s}}\nservices: {a: {count: 0, before_upgrade: {command: [m]}}}\n"
    hook = read(text).service("a").service.before_upgrade
    assert hook is not None
    assert (hook.command, hook.timeout) == (("m",), 5)


def test_variables_are_not_expanded(read: Read) -> None:
    assert job(read, 'env: {A: "${HOME} $PATH %h ~"}').env == {"A": "${HOME} $PATH %h ~"}


def test_names_that_docker_accepts(read: Read) -> None:
    body = 'env: {ConnectionStrings:Default: a, 1PASS: b, "DB[host]": c, "é/+": d}'
    assert job(read, body).env == {"ConnectionStrings:Default": "a", "1PASS": "b", "DB[host]": "c", "é/+": "d"}


def test_an_env_file_as_a_path_or_with_secrets(read: Read) -> None:
    assert job(read, "env_file: /x").env_file == "/x"
    assert job(read, "env_file: {path: /x, secret: true}").env_file == EnvFile(path="/x", secret=True)


def test_tmpfs_with_options(read: Read) -> None:
    written = job(read, 'tmpfs: ["/cache:size=64m,mode=1777,noexec", /b]').tmpfs
    assert [tmpfs_mount(one) for one in written] == [("/cache", "size=64m,mode=1777,noexec"), ("/b", "")]


def test_anchors_and_merge_keys(read: Read) -> None:
    text = """\
version: 1
services:
  a: &a {image: x, count: 0, env: &env {A: x, B: y}}
  b: {<<: *a, env: {<<: [*env, {A: no, C: c}], B: z}}
"""
    service = read(text).service("b").service
    assert service.count == 0
    assert service.env == {"A": "x", "B": "z", "C": "c"}


@pytest.mark.parametrize("text", ["version: 1\nservices: {}", "version: 1\nhost:\ndefaults:\nservices: {}\n"])
def test_an_empty_host(read: Read, text: str) -> None:
    definitions = read(text)
    assert definitions.ids == ()
    assert definitions.host.instance == "default"


def test_json_is_read(tmp_path: Path) -> None:
    path = tmp_path / "services.json"
    written = yaml.safe_load(EXAMPLE.read_text())
    for indent in (None, 2):
        path.write_text(json.dumps(written, indent=indent, ensure_ascii=False))
        definitions = load(path)
        assert not definitions.problems
        assert definitions.services == load(EXAMPLE).services


def test_a_line_in_json(tmp_path: Path) -> None:
    path = tmp_path / "services.json"
    path.write_text('{\n  "version": 1,\n  "services": {\n    "a": {"image": "x", "count": "0"}\n  }\n}\n')
    (problem,) = load(path).problems
    assert (problem.line, problem.key) == (4, "services.a.count")


def test_the_python_loader_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = load(EXAMPLE)
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert load(EXAMPLE) == quick


SAME = [
    "console: [x]", "before_upgrade: {command: [m]}", "cron: {generate: [g]}", "notify: [n]", "order: stop-first",
    "nginx: {}", "publish: [1, 9]",
]  # fmt: skip
OTHER = [
    "command: [x]", "env: {A: x}", "env_file: /x", "memory: 1GiB", "stop: {grace: 1s}", "init: true", "tmpfs: [/t]", "labels: {a: b}",
    "volumes: [/a:/b]", "logging: {driver: journald}", "env: {A: {file: /x}}", "user: x",
]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("[a, b]", ("a", "b")),
        ("{command: [a], on: [failed]}", Notify(command=("a",), on=("failed",))),
        ("{webhook: https://hooks.example/x?y}", Notify(webhook="https://hooks.example/x?y")),
        ("{webhook: {file: /x}, timeout: 3s}", Notify(webhook=SecretRef(file="/x"), timeout=Period(3))),
        ("{on: []}", Notify(on=())),
    ],
)
def test_notify(read: Read, written: str, found: object) -> None:
    assert job(read, f"notify: {written}").notify == found
    assert read(f"version: 1\nhost: {{notify: {written}}}\nservices: {{}}").host.notify == found


def test_the_digest_covers_what_reaches_the_container(read: Read) -> None:
    def digest(body: str) -> str:
        job = f"{{image: x, count: 0, port: 80, health: {{tcp: true}}, {body}}}"
        return read(f"version: 1\nservices: {{a: {job}}}").service("a").digest

    base = digest("init: false")
    assert {digest(f"init: false, {body}") for body in SAME} == {base}
    assert len({digest(body) for body in OTHER} | {base}) == len(OTHER) + 1


def test_the_digest_ignores_count_and_health(read: Read) -> None:
    texts = [
        "count: 0",
        "count: 5, health: {none: true}",
        "port: 80, health: {path: /x}",
        "health: {command: [x]}",
    ]
    digests = {read(f"version: 1\nservices: {{a: {{image: x, {body}}}}}").service("a").digest for body in texts}
    assert len(digests) == 1


def test_the_digest_is_fixed(read: Read) -> None:
    # The labels of running containers have it: with another value, every container would count as drifted.
    text = "version: 1\nservices: {a: {image: r.example.com/e, env: {B: x, A: {file: /s}}, cpus: 1.5, count: 0}}"
    assert read(text).service("a").digest == "daa5869fbe7d974d"


def test_the_earlier_name_of_an_event_is_read_in_a_stored_definition() -> None:
    written = {
        "image": "shop",
        "health": {"none": True},
        "notify": {"webhook": "https://a.test/", "on": ["rolled-back"]},
    }
    notify = restore("web", written).service.notify
    assert isinstance(notify, Notify)
    assert notify.on == ("interrupted",)


def test_a_stored_definition_is_restored() -> None:
    for definition in load(EXAMPLE).services.values():
        written = json.loads(json.dumps(definition.written))
        assert restore(definition.id, written) == definition
        assert restore(definition.id, written, definition) is definition
        assert restore(definition.id, {**written, "count": 7}, definition).service.count == 7


@pytest.mark.parametrize(
    ("service_id", "written", "key"),
    [
        ("a", {"count": 0}, "services.a.image"),
        ("a", {"image": "x", "count": "0"}, "services.a.count"),
        ("A", {"image": "x", "count": 0}, "services.A"),
        ("a", {"image": "x", "count": 0, "user": "a\0b"}, "services.a.user"),
        ("a", [], "services.a"),
    ],
)
def test_the_types_of_a_stored_definition_are_validated(service_id: str, written: dict[str, object], key: str) -> None:
    with pytest.raises(DefinitionsError) as caught:
        restore(service_id, written)
    assert ("stored definition", 0, key) in [problem[:3] for problem in caught.value.problems]


NEWER: dict[str, object] = {
    "image": "x", "port": 80, "count": 2, "redirect": True, "maintenance": {"message": ["x"]},
    "health": {"path": "/", "protocol": "h2c"}, "nginx": {"server": {"listen": ["80"], "names": ["a"], "redirect": True}},
    "env": {"A": {"file": "/a", "owner": "x"}}, "ulimits": {"nofile": {"soft": 1, "hard": 2, "firm": 3}},
}  # fmt: skip


def test_a_stored_definition_of_a_newer_version_is_read_without_its_unknown_keys() -> None:
    definition = restore("a", json.loads(json.dumps(NEWER)))
    assert set(definition.unknown) == {
        "services.a.redirect",
        "services.a.maintenance",
        "services.a.health.protocol",
        "services.a.nginx.server.redirect",
        "services.a.env.A.owner",
        "services.a.ulimits.nofile.firm",
    }
    assert definition.written == NEWER
    service = definition.service
    assert (service.count, service.health and service.health.path, service.env) == (2, "/", {"A": SecretRef(file="/a")})
    assert definition.digest != restore("a", {**NEWER, "redirect": False}).digest


def test_a_stored_check_of_an_unknown_kind_accepts_a_running_replica() -> None:
    health = restore("a", {"image": "x", "health": {"grpc": {"port": 5}, "interval": "9s"}}).service.health
    assert health == Health(none=True, interval=Seconds(9))


def test_rules_about_several_keys_are_not_applied_to_a_stored_definition() -> None:
    """A rule of a later version must not make a release unreadable: its service could not be supervised any more."""
    for written in (
        {"image": "x", "count": 0, "nginx": {}, "port": 80},
        {"image": "x", "count": 5, "publish": [1, 2], "port": 1, "health": {"tcp": True, "stable_for": 1}},
        {"image": "x", "count": 0, "memory": "1MiB", "tmpfs": ["/a", "/a"]},
    ):
        assert restore("a", written).written == written


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("missing", "it does not exist"), ("directory", "Is a directory"), ("closed", "permission denied")],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, kind: str, sentence: str) -> None:
    path = tmp_path / "services.yml"
    if kind == "directory":
        path.mkdir()
    if kind == "closed":
        path.write_text("version: 1\nservices: {}")
        path.chmod(0)
    user = os.geteuid()
    try:
        if kind == "closed" and user == 0:
            os.seteuid(65534)  # root can read every file
        with pytest.raises(UsageError) as caught:
            load(path)
    finally:
        os.seteuid(user)
    assert caught.value.sentence == f"cannot read {path}: {sentence}"


FRAGMENTS = st.lists(
    st.sampled_from(
        ["version: 1", "\n", "  ", "services:", "a:", " ", "{", "}", "[", "]", ",", ":", "image: x", "'", '"', "&a", "*a", "<<",
         "!!x", "host:", "defaults:", "- ", "health:", "none: true", "count: 0", "env:", "A", "on", "0123", "12:30", "~", "|", "#",
         "\t", "é", "\\0", "file: /x", "---", "%", "?", "stop:", "grace: 3s", "1e3", "=", "nginx:", "port: 80", "cron:"]
    ),
    max_size=40,
)  # fmt: skip
often = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=100)


@often
@given(FRAGMENTS.map("".join) | st.text(max_size=60))
def test_any_text_loads_or_raises_a_definitions_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "services.yml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    try:
        definitions = load(path)
    except DefinitionsError:
        return
    assert {*definitions.services, *definitions.broken} == set(definitions.ids)
    assert definitions.problems or not definitions.broken
    for definition in definitions.services.values():
        assert restore(definition.id, definition.written) == definition


VALID = [definition.written for definition in load(EXAMPLE).services.values()]
JUNK = st.none() | st.booleans() | st.integers(-1, 10**20) | st.floats(allow_nan=False) | st.text(max_size=5)
JUNK = JUNK | st.lists(JUNK, max_size=2) | st.dictionaries(st.text(max_size=3), JUNK, max_size=2)


@often
@given(st.data())
def test_explain_finds_a_problem_exactly_if_msgspec_does(data: st.DataObject) -> None:
    written = json.loads(json.dumps(data.draw(st.sampled_from(VALID))))
    for _ in range(data.draw(st.integers(1, 3))):
        place = written
        while isinstance(place, dict | list) and place:
            name = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
            if data.draw(st.booleans()) or not isinstance(place[name], dict | list) or not place[name]:
                place[name] = data.draw(JUNK)
                break
            place = place[name]
    node = merge(EMPTY, tree(written, "services.x"))
    found = list(explain(node, Service))
    try:
        convert(plain(node), Service)
    except msgspec.ValidationError:
        assert found
    else:
        assert not found
    assert not any("`" in sentence or "Expected" in sentence for _, _, sentence in found)
