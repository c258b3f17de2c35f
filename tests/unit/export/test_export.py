"""The three exports: every key of a service is exported or noted, and the results match the published schemas."""

import functools
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import check_jsonschema.builtin_schemas
import jsonschema
import kubernetes_validate
import msgspec
import pytest
import referencing.jsonschema
import yaml

import conductor
from conductor.definitions.load import load, restore
from conductor.definitions.model import Service
from conductor.definitions.section import Section
from conductor.export.export import Export, Names, Source

TOOLS = ("compose", "kubernetes", "quadlet")
OLDEST, NEWEST = "1.25.0", "1.37.0"  # of Kubernetes
KINDS = {"Deployment": "deployment-apps-v1", "Service": "service-v1", "CronJob": "cronjob-batch-v1"}
CRONTAB = """\
MAILTO=root
TZ=UTC
SHELL=/bin/bash
HOME=/srv
# a comment
*/30 * * * * bin/report 50\\% "$HOME"
0 4 * * 5-7 bin/weekly
@daily bin/daily
@reboot bin/reboot
1 2 * * * bin/stdin%hello
1 2 */2 * mon bin/both
1 2 */2 * * bin/one
"""
BASE: dict[str, Any] = {"image": "registry.example.com/shop", "health": {"command": ["ok"]}, "port": 80}
PATH_CHECK = {"health": {"path": "/"}}
# For each key, another value than its default, and what the key needs beside it.
VALUES: dict[str, tuple[Any, dict[str, Any]]] = {
    "image": ("other", {}),
    "count": (3, {}),
    "command": (["bin/web", "a b", "$(HOME) ${HOME} $HOME %h 100%", '"\\', "two\nlines", "ünï"], {}),
    "entrypoint": (["/usr/bin/env", "$X"], {}),
    "workdir": ("/srv/my app", {}),
    "user": ("1000:1000", {}),
    "env": ({"A": "a $B 5% 'c' \"d\"\\", "N": "1e3", "Y": "yes", "S": {"file": "/secrets/a b"}, "X:Y": "z"}, {}),
    "env_file": ("/etc/env", {}),
    "env_file.path": ("/etc/other", {}),
    "port": (8080, {}),
    "publish": ([21000, 21015], {"count": 2}),
    "health.path": ("/health", {"health": None}),
    "health.command": (["bin/alive", "a b"], {}),
    "health.tcp": (True, {"health": None}),
    "health.none": (True, {"health": None}),
    "health.port": (81, PATH_CHECK),
    "health.host_header": ("shop.example.com", PATH_CHECK),
    "health.headers": ({"X-A": "b", "X-S": {"file": "/secrets/header"}}, PATH_CHECK),
    "health.status": (["200"], PATH_CHECK),
    "health.gate_interval": ("2s", {}),
    "health.interval": ("7s", {}),
    "health.timeout": ("8s", {}),
    "health.start_timeout": ("90s", {}),
    "health.successes": (3, {}),
    "health.failures": (4, {}),
    "health.stable_for": ("9s", {"health": {"none": True}}),
    "nginx": ({}, {}),
    "nginx.upstream": ("up", {}),
    "nginx.balance": ("least", {}),
    "nginx.slow_start": ("5s", {}),
    "nginx.drain": ("5s", {}),
    "nginx.maintenance_page": ("/page", {}),
    "nginx.server": ({"listen": ["80"], "names": ["a.example.com"]}, {}),
    "canary": ({}, {}),
    "order": ("stop-first", {}),
    "stop.signal": ("SIGQUIT", {}),
    "stop.grace": ("1500ms", {}),
    "stop.wait": (False, {}),
    "logging.driver": ("journald", {}),
    "logging.options": ({"tag": "a%b"}, {}),
    "memory": ("1GiB", {}),
    "cpus": (1.5, {}),
    "shm_size": ("64MiB", {}),
    "init": (True, {}),
    "read_only": (True, {}),
    "volumes": (
        ["/srv/a:/a", "/srv/b.conf:/b:ro,rslave", "data:/c:nocopy",
         {"type": "bind", "source": "/srv/d,e", "target": "/d", "read_only": True, "bind": {"propagation": "rshared"}},
         {"type": "volume", "source": "Data_2", "target": "/e", "volume": {"nocopy": True}}], {},
    ),
    "tmpfs": (["/tmp", "/cache:size=64m,mode=1777", "/half:size=50%"], {}),
    "devices": (["/dev/fuse", "/dev/ttyUSB0:/dev/scanner:rw"], {}),
    "cap_add": (["NET_ADMIN"], {}),
    "cap_drop": (["ALL"], {}),
    "security_opt": (["no-new-privileges", "seccomp=unconfined", "apparmor=mine"], {}),
    "sysctls": ({"net.ipv4.ping_group_range": "0 1000"}, {}),
    "pids_limit": (100, {}),
    "ulimits": ({"nofile": {"soft": 1024, "hard": -1}}, {}),
    "hostname": ("shop", {}),
    "dns.servers": (["192.0.2.53"], {}),
    "dns.search": (["internal"], {}),
    "dns.options": (["ndots:1", "rotate"], {}),
    "networks": (["monitoring", {"name": "db", "aliases": ["shop"]}], {}),
    "extra_hosts": ({"ledger": "192.0.2.20", "gateway": "host-gateway"}, {}),
    "labels": ({"team": "a 50% $x", "strange!": "b"}, {}),
    "before_upgrade": ({"command": ["migrate"]}, {}),
    "before_stop": ({"command": ["quiet"], "timeout": "20s"}, {}),
    "console": (["sh"], {}),
    "cron": ({"generate": ["crontab"]}, {}),
    "cron.overlap": ("queue", {"cron": {"generate": ["crontab"]}}),
    "cron.timeout": ("1h", {"cron": {"generate": ["crontab"]}}),
    "notify": (["page"], {}),
}  # fmt: skip
# A note on the key to the right says that this one has no effect.
UNDER = {
    "quadlet": {"health.port": "health.path", "health.host_header": "health.path", "health.headers": "health.path",
                "health.status": "health.path", "health.stable_for": "health.none", "order": "upgrades",
                "cron.overlap": "cron", "cron.timeout": "cron"},
    "kubernetes": {},
}  # fmt: skip
UNDER["compose"] = UNDER["quadlet"]


EXPRESSED = {("kubernetes", "stop.wait")}  # a rollout never waits for old pods


def source(service: str = "web", /, **keys: Any) -> Source:
    return Source(service, restore(service, {**BASE, **keys}).service, "r1", CRONTAB)


def export(tool: str, *sources: Source) -> Export:
    made: Export = import_module(f"conductor.export.{tool}").export(sources)
    return made


def written(key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of a service without the key, and with it."""
    value, beside = VALUES[key]
    first, *rest = key.split(".")
    without = {**BASE, **beside}
    if key == "env_file.path":
        return without, {**without, "env_file": {"path": value}}
    inner = {**(without.get(first) or {}), rest[0]: value} if rest else value
    return without, {**without, first: inner}


def types_in(annotation: object) -> Iterator[object]:
    """The type, and those in its union or annotation."""
    yield annotation
    for one in get_args(annotation):
        yield from types_in(one)


def keys_of(section: type[Section], prefix: str = "") -> Iterator[str]:
    """All key paths, down to those of `stop`, `health` and their like."""
    for field in msgspec.structs.fields(section):
        inner = [one for one in types_in(field.type) if isinstance(one, type) and issubclass(one, Section)]
        nested = [one for one in inner if not prefix and one.__name__ in {"Health", "Stop", "Logging", "Dns", "Nginx"}]
        if nested:
            yield from keys_of(nested[0], f"{field.encode_name}.")
        else:
            yield f"{prefix}{field.encode_name}"


def test_the_table_has_every_key() -> None:
    own = {"env_file.path", "nginx", "cron.overlap", "cron.timeout"}
    assert set(VALUES) - own == set(keys_of(Service))


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("key", VALUES)
def test_every_key_is_exported_or_noted(tool: str, key: str) -> None:
    before, after = (export(tool, source(**keys)) for keys in written(key))
    noted = [note.partition(":")[0].partition(" ")[0] for note in after.notes]
    above = UNDER[tool].get(key, "nginx" if key.startswith("nginx") else "")
    assert before != after or {key, above} & set(noted) or (tool, key) in EXPRESSED


@pytest.mark.parametrize("tool", TOOLS)
def test_default_values_are_not_noted(tool: str) -> None:
    notes = export(tool, source(port=None)).notes
    assert [note for note in notes if note.endswith(")") or "(web)" in note] == []


@pytest.mark.parametrize("tool", TOOLS)
def test_a_note_that_concerns_several_services_is_one_line(tool: str) -> None:
    made = export(tool, source("a", canary={}), source("b", canary={}), source("c"))
    [note] = [note for note in made.notes if note.startswith("canary")]
    assert note.startswith("canary (a, b): ")


@pytest.mark.parametrize("tool", TOOLS)
def test_the_notes_are_comments_at_the_top(tool: str) -> None:
    made = export(tool, source(canary={}))
    for text in made.files.values():
        top = text.partition("\n\n[Unit]")[0] if tool == "quadlet" else text.partition("\n" + text.lstrip("#")[:1])[0]
        assert "# - canary" in top


@pytest.mark.parametrize("tool", TOOLS)
def test_secrets_are_references(tool: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    (tmp_path / "env").write_text("A=hunter2\n")
    one = source(env={"P": {"file": f"{tmp_path}/secret"}}, env_file=f"{tmp_path}/env")
    text = "".join(export(tool, one).files.values())
    assert "hunter2" not in text
    assert f'$(cat {tmp_path}/secret)"' in text


@pytest.mark.parametrize("tool", TOOLS)
def test_without_a_release_the_tag_is_a_placeholder(tool: str) -> None:
    made = export(tool, source()._replace(revision="", crontab=""))
    assert "shop:REVISION" in "".join(made.files.values())
    assert [note for note in made.notes if note.startswith("image (web): ")]


def test_names_are_never_shared() -> None:
    names = Names("_")
    assert [names.name(*one) for one in ((1, "a"), (2, "a"), (1, "a"), (3, "a_2"), (4, "a"))] == [
        "a", "a_2", "a", "a_2_2", "a_3",
    ]  # fmt: skip


# What other tools read.


def everything() -> list[Source]:
    """The example's services, one with all keys that go together, and one for each of the others."""
    example = load(Path(conductor.__file__).parent / "templates/services.example.yml")
    found = [Source(one.id, one.service, "r1", CRONTAB) for one in example.services.values()]
    together: dict[str, Any] = {}
    for number, key in enumerate(VALUES):
        with_key = written(key)[1]
        if VALUES[key][1] or key == "env_file.path":
            found.append(source(f"s{number}", **with_key))
        elif "." in key:
            first, rest = key.split(".")
            together[first] = {**together.get(first, {}), rest: with_key[first][rest]}
        else:
            together[key] = with_key[key]
    return [*found, source("together", **together)]


def test_compose_matches_the_schema_of_its_specification() -> None:
    schemas = Path(check_jsonschema.builtin_schemas.__file__).parent / "vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text())
    [text] = export("compose", *everything()).files.values()
    document = yaml.safe_load(text)
    jsonschema.validators.validator_for(schema)(schema).validate(document)
    assert len(document["services"]) == len(everything())


def schema_of(kind: str, version: str) -> jsonschema.Draft202012Validator:
    """The schema that refuses unknown keys."""
    directory = Path(kubernetes_validate.__file__).parent / f"kubernetes-json-schema/v{version}-local-strict"
    schema = json.loads((directory / f"{kind}.json").read_text())
    definitions = definitions_of(directory)
    return jsonschema.Draft202012Validator(schema, registry=definitions)


@functools.cache
def definitions_of(directory: Path) -> referencing.Registry[Any]:
    contents = json.loads((directory / "_definitions.json").read_text())
    resource = referencing.Resource.from_contents(contents, referencing.jsonschema.DRAFT202012)
    return referencing.Registry().with_resource("_definitions.json", resource).crawl()  # once, not at each reference


@pytest.mark.parametrize("version", [pytest.param(OLDEST, marks=pytest.mark.long), NEWEST])
def test_manifests_match_the_schemas_of_kubernetes(version: str) -> None:
    [text] = export("kubernetes", *everything()).files.values()
    manifests = list(yaml.safe_load_all(text))
    schemas = {kind: schema_of(name, version) for kind, name in KINDS.items()}
    for one in manifests:
        schemas[one["kind"]].validate(one)
    assert {one["kind"] for one in manifests} == set(KINDS)
    names = [(one["kind"], one["metadata"]["name"]) for one in manifests]
    assert len(names) == len(set(names))
    with pytest.raises(jsonschema.ValidationError):
        schemas["Service"].validate({**manifests[1], "unknown": 1})
