"""A task's container is the service's in everything but what makes it a task."""

from typing import Any

import msgspec
import pytest

from conductor.definitions.load import restore
from conductor.definitions.scalars import Secret
from conductor.plan.container_spec import ContainerSpec, container_spec
from conductor.plan.tasks import Task, task_spec
from conductor.plan.transition import release

WRITTEN = {
    "image": "shop/app", "command": ["bin/web"], "entrypoint": ["tini", "--"], "workdir": "/app", "user": "app", "port": 80,
    "health": {"path": "/"}, "nginx": {}, "env": {"A": "1", "B": "2"}, "memory": "1GiB", "cpus": 1.5, "shm_size": "1MiB",
    "init": True, "read_only": True, "volumes": ["/srv:/srv"], "tmpfs": ["/tmp"], "cap_add": ["NET_ADMIN"], "cap_drop": ["ALL"],
    "ulimits": {"nofile": {"soft": 1, "hard": 2}}, "extra_hosts": {"db": "10.0.0.9"}, "labels": {"team": "shop"},
    "stop": {"signal": "SIGINT", "grace": "3s"}, "logging": {"options": {"max-size": "1m"}},
}  # fmt: skip
DEFINITION = restore("web", WRITTEN)
RELEASE = release(DEFINITION, "r1", "sha256:1", "c1")
TOKEN = Secret("hunter2")
VALUES: dict[str, str | Secret] = {"A": "1", "B": "2", "TOKEN": TOKEN}


def task(**more: Any) -> ContainerSpec:
    wish = Task(**{"service": "web", "kind": "task", "command": ("true",), **more})
    return task_spec(wish, DEFINITION, RELEASE, VALUES, instance="default", network="net", change="t1")


def differing(one: ContainerSpec, other: ContainerSpec) -> dict[str, Any]:
    was, now = msgspec.structs.asdict(one), msgspec.structs.asdict(other)
    return {name: now[name] for name in was if was[name] != now[name]}


def test_only_what_makes_it_a_task_differs_from_the_service() -> None:
    service = container_spec(
        DEFINITION, RELEASE, VALUES, instance="default", network="net", kind="service", name="1", address="10.1.0.5:80"
    )
    found = differing(service, task())
    assert found.pop("labels") == {
        **service.labels,
        "conductor.kind": "task",
        "conductor.upgrade": "t1",
        "conductor.address": "",
    }
    assert found == {"name": "web-r1-t1-task", "command": ("true",), "ip": None}


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        ({"tty": True, "stdin": True}, {"tty": True, "stdin": True}),
        ({"name": "mine"}, {"name": "mine"}),
        ({"workdir": "/srv"}, {"workdir": "/srv"}),
        ({"env": {"A": "x", "NEW": ""}}, {"environment": {"A": "x", "B": "2", "TOKEN": TOKEN, "NEW": ""}}),
        ({"env": {"TOKEN": "mine"}}, {"environment": {"A": "1", "B": "2", "TOKEN": "mine"}}),
        ({"revision": "r1", "timeout": 3.0, "detach": True}, {}),
    ],
)
def test_each_wish_changes_its_own_part(wish: dict[str, Any], found: dict[str, Any]) -> None:
    assert differing(task(), task(**wish)) == found


def test_a_job_is_found_by_its_label() -> None:
    found = differing(task(), task(kind="cron", job="k1"))
    assert found["name"] == "web-r1-t1-cron"
    assert found["labels"]["conductor.kind"] == "cron"
    assert found["labels"]["conductor.job"] == "k1"
    assert "conductor.job" not in task().labels


def test_a_published_service_gives_its_tasks_no_port() -> None:
    published = restore("web", {**WRITTEN, "publish": [21000, 21015]})
    wish = Task(service="web", kind="console", command=("sh",))
    spec = task_spec(wish, published, RELEASE, {}, instance="default", network="net", change="t1")
    assert (spec.ip, spec.publish, spec.labels["conductor.address"]) == (None, None, "")
