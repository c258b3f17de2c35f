"""What a fleet refuses, by name."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from conductor.definitions.load import Definitions, parse
from conductor.definitions.problems import DefinitionsError

WEB = {"image": "app", "port": 80, "health": {"path": "/"}, "nginx": {}}


def definitions(ports: list[int] | None = None, **more: Any) -> Definitions:
    host = {"fleet": {"ports": ports}} if ports else {}
    text = yaml.safe_dump({"version": 1, "host": host, "services": {"web": {**WEB, **more}}})
    return parse(text.encode(), Path("services.yml"))


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"publish": [21000, 21015]}, "publish"),
        ({"canary": {}}, "canary"),
        ({"stop": {"wait": False}}, "stop.wait"),
        ({"before_stop": {"command": ["true"]}}, "before_stop"),
        ({"devices": ["/dev/fuse"]}, "devices"),
        ({"security_opt": ["no-new-privileges"]}, "security_opt"),
        ({"health": {"command": ["true"]}}, "health.command"),
        ({"health": {"path": "/", "port": 81}}, "health.port"),
        ({"volumes": ["data:/data", "/srv/data:/more"]}, "volumes.1"),
        ({"volumes": [{"type": "bind", "source": "/srv", "target": "/srv"}]}, "volumes.0"),
        ({"tmpfs": ["/tmp:size=1m,mode=1777,noexec"]}, "tmpfs.0"),
    ],
)
def test_refusals(more: dict[str, Any], key: str) -> None:
    [problem] = definitions([21000, 21999], **more).broken["web"]
    assert (problem.key, "in a fleet" in problem.sentence) == (f"services.web.{key}", True)
    assert not definitions(**more).problems


def test_what_a_fleet_accepts() -> None:
    more = {
        "volumes": ["data:/data"],
        "tmpfs": ["/tmp:size=1m,mode=1777", "/run"],
        "shm_size": "64m",
        "health": {"tcp": True},
    }
    found = definitions([21000, 21999], **more)
    assert not found.problems
    assert found.host.fleet is not None
    assert found.host.fleet.ports == (21000, 21999)


def test_a_service_that_stays_on_one_node_can_use_its_paths() -> None:
    assert not definitions([21000, 21999], order="stop-first", volumes=["/srv/data:/data"]).problems


def test_ports_in_the_wrong_order() -> None:
    with pytest.raises(DefinitionsError) as refused:
        definitions([21999, 21000])
    [problem] = refused.value.problems
    assert (problem.key, problem.sentence) == (
        "host.fleet.ports",
        "must start with the lower port; write [21000, 21999]",
    )
