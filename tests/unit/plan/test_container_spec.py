"""The specification of a replica: its name, its labels and its address."""

from typing import Any

import pytest

from conductor.definitions.load import restore
from conductor.plan.container_spec import ContainerSpec, container_spec
from conductor.plan.transition import new_release

WEB: dict[str, Any] = {"image": "shop/app", "port": 80, "health": {"path": "/"}, "labels": {"team": "shop"}}
WORKER: dict[str, Any] = {"image": "shop/app", "health": {"none": True}}


def spec(written: dict[str, Any], address: str, revision: str = "r1", **fields: Any) -> ContainerSpec:
    definition = restore("web", written)
    release = new_release(definition, revision, "sha256:1", "c1")
    return container_spec(
        definition, release, {}, instance="default", network="net", kind="service", change="c2", name="3",
        address=address, **fields,
    )  # fmt: skip


def test_labels_identify_a_replica_its_release_and_its_change() -> None:
    found = spec(WEB, "10.1.0.5:80")
    assert found.labels == {
        "team": "shop",
        "conductor.instance": "default",
        "conductor.name": "web-r1-c2-3",
        "conductor.service": "web",
        "conductor.revision": "r1",
        "conductor.kind": "service",
        "conductor.definition": restore("web", WEB).digest,
        "conductor.release": "c1",
        "conductor.change": "c2",
        "conductor.address": "10.1.0.5:80",
        "conductor.job": "",
        "conductor.deadline": "",
    }


@pytest.mark.parametrize(("revision", "name"), [("r1", "web-r1-c2-3"), ("0123456789abcdef", "web-0123456789ab-c2-3")])
def test_the_name_has_service_revision_change_and_number(revision: str, name: str) -> None:
    assert spec(WEB, "10.1.0.5:80", revision).name == name


@pytest.mark.parametrize(
    ("written", "address", "ip", "publish"),
    [
        (WEB, "10.1.0.5:80", "10.1.0.5", None),
        (WORKER, "10.1.0.5", "10.1.0.5", None),
        (WORKER, "", None, None),
        ({**WEB, "publish": [21000, 21015]}, "127.0.0.1:21003", None, (80, 21003)),
        ({**WEB, "publish": [21000, 21015]}, "", None, None),
    ],
    ids=["with a port", "without a port", "no fixed address", "published", "published, no fixed address"],
)
def test_a_replica_has_a_fixed_ip_or_a_published_port(
    written: dict[str, Any], address: str, ip: str | None, publish: tuple[int, int] | None
) -> None:
    found = spec(written, address)
    assert (found.ip, found.publish) == (ip, publish)


def test_a_command_replaces_the_services() -> None:
    written = {**WEB, "command": ["bin/web"]}
    assert spec(written, "").command == ("bin/web",)
    assert spec(written, "", command=("bin/other",)).command == ("bin/other",)
