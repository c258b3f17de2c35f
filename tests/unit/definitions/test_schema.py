"""The schema, the annotated example and the resolved document agree with the model that validates."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

import conductor
from conductor.definitions.host import Host, HostNginx
from conductor.definitions.load import load, restore
from conductor.definitions.resolved import document, resolved
from conductor.definitions.schema import schema
from conductor.definitions.section import Section

EXAMPLE = Path(conductor.__file__).parent / "templates/services.example.yml"
VALIDATOR = jsonschema.Draft202012Validator(schema())


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from keys(inner)
    if isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_the_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert json.dumps(schema())
    components = schema()["$defs"]
    assert all(shape["description"] for shape in components.values())
    assert components["Stop"]["properties"]["grace"]["anyOf"][0]["default"] == "30s"


def test_the_example_is_valid_and_has_every_key() -> None:
    definitions = load(EXAMPLE)
    assert not definitions.problems
    written = yaml.safe_load(EXAMPLE.read_text())
    VALIDATOR.validate(written)
    fields = {field.encode_name for kind in Section.__subclasses__() for field in msgspec.structs.fields(kind)}
    assert fields - set(keys(written)) == {"fleet", "ports"}  # which would refuse other keys; a comment shows them
    assert "# fleet: {ports: [21000, 21999]}" in EXAMPLE.read_text()


def test_the_example_shows_the_built_in_host() -> None:
    prefix = "/usr/share/nginx"  # the built-in one is not a value: it is that of the running nginx
    assert load(EXAMPLE).host == Host(nginx=HostNginx(prefix=prefix))


def test_a_resolved_definition_is_restored_as_the_same(tmp_path: Path) -> None:
    definitions = load(EXAMPLE)
    for definition in definitions.services.values():
        again = restore(definition.id, resolved(definition))
        assert again.upstream == definition.upstream
        assert resolved(again) == resolved(definition)
    path = tmp_path / "shown.yml"
    path.write_text(yaml.safe_dump(document(definitions.host, list(definitions.services.values()))))
    assert not load(path).problems
    VALIDATOR.validate(yaml.safe_load(path.read_text()))


SERVICE = {"image": "x", "count": 0}


def with_status(status: Any) -> dict[str, Any]:
    health = {"path": "/", "status": status}
    return {"version": 1, "services": {"a": {**SERVICE, "port": 80, "health": health}}}


def with_listen(listen: Any) -> dict[str, Any]:
    server = {"listen": listen, "names": "a.example"}
    return {
        "version": 1,
        "services": {"a": {**SERVICE, "port": 80, "health": {"path": "/"}, "nginx": {"server": server}}},
    }


@pytest.mark.parametrize(
    ("written", "valid"),
    [
        ({"version": 1, "services": {}}, True),
        ({"version": 1, "host": None, "defaults": None, "services": {}}, True),
        ({"version": 1, "services": {"a": SERVICE}}, True),
        ({"version": 1, "defaults": {"image": "x"}, "services": {"a": {"count": 0, "memory": None, "env": {"A": None}}}}, True),
        ({"version": 1, "services": {"a": {**SERVICE, "stop": {"grace": 3}, "shm_size": "1g"}}}, True),
        (with_listen(80), True),
        (with_listen("80"), True),
        (with_listen([80, "443"]), True),
        (with_listen(True), False),
        (with_listen([]), False),
        (with_listen({"port": 80}), False),
        (with_status(200), True),
        (with_status("200-299"), True),
        (with_status([200, "300-399"]), True),
        (with_status([]), False),
        (with_status(["2xx"]), False),
        (with_status(True), False),
        ({"version": 1, "services": {"a": {**SERVICE, "networks": ["n", {"name": "m"}]}}}, True),
        ({"version": 1, "services": {"a": {**SERVICE, "networks": [{"name": "m", "alias": []}]}}}, False),
        ({"version": 1, "services": {"a": {**SERVICE, "volumes": [{"type": "bind", "source": "/a", "target": "/b"}]}}}, True),
        ({"version": 1, "services": {"a": {**SERVICE, "volumes": ["/a:/b:ro,rslave"]}}}, True),
        ({"version": 1, "services": {"a": {**SERVICE, "volumes": ["/a:/b:nocopy"]}}}, False),
        ({}, False),
        ({"version": 2, "services": {}}, False),
        ({"version": 1, "services": {}, "extra": 1}, False),
        ({"version": 1}, False),
        ({"version": 1, "services": None}, False),
        ({"version": 1, "services": []}, False),
        ({"version": 1, "services": {"A b": SERVICE}}, False),
        ({"version": 1, "services": {"a": {**SERVICE, "imag": "x"}}}, False),
        ({"version": 1, "services": {"a": {**SERVICE, "image": "x:1"}}}, False),
        ({"version": 1, "services": {"a": {**SERVICE, "workdir": "x"}}}, False),
        ({"version": 1, "services": {"a": {**SERVICE, "workdir": "/x\n"}}}, False),
        ({"version": 1, "services": {"a": {**SERVICE, "stop": {"grace": "3 s"}}}}, False),
        ({"version": 1, "services": {"a": {**SERVICE, "env": {"A": 1}}}}, False),
        ({"version": 1, "services": {"a": {**SERVICE, "env": {"A B": "x"}}}}, False),
        ({"version": 1, "services": {"a": {**SERVICE, "labels": {"conductor.x": "x"}}}}, False),
    ],
)  # fmt: skip
def test_schema_and_load_agree(tmp_path: Path, written: dict[str, Any], valid: bool) -> None:
    path = tmp_path / "services.yml"
    path.write_text(json.dumps(written))
    try:
        loads = not load(path).problems
    except Exception:  # noqa: BLE001 (any error counts as a rejection)
        loads = False
    assert (VALIDATOR.is_valid(written), loads) == (valid, valid)
