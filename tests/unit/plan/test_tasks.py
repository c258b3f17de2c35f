"""The container of a task is the service's, apart from what makes it a task."""

from typing import Any

import msgspec
import pytest

from conductor.definitions.load import restore
from conductor.definitions.scalars import Secret
from conductor.plan.container_spec import ContainerSpec, container_spec
from conductor.plan.tasks import Task, task_spec, with_deadline
from conductor.plan.transition import new_release

WRITTEN = {
    "image": "shop/app", "command": ["bin/web"], "entrypoint": ["tini", "--"], "workdir": "/app", "user": "app", "port": 80,
    "health": {"path": "/"}, "nginx": {}, "env": {"A": "1", "B": "2"}, "memory": "1GiB", "cpus": 1.5, "shm_size": "1MiB",
    "init": True, "read_only": True, "volumes": ["/srv:/srv"], "tmpfs": ["/tmp"], "cap_add": ["NET_ADMIN"], "cap_drop": ["ALL"],
    "ulimits": {"nofile": {"soft": 1, "hard": 2}}, "extra_hosts": {"db": "10.0.0.9"}, "labels": {"team": "shop"},
    "stop": {"signal": "SIGINT", "grace": "3s"}, "logging": {"options": {"max-size": "1m"}},
}  # fmt: skip
DEFINITION = restore("web", WRITTEN)
RELEASE = new_release(DEFINITION, "r1", "sha256:1", "c1")
TOKEN = Secret("hunter2")
ENVIRONMENT: dict[str, str | Secret] = {"A": "1", "B": "2", "TOKEN": TOKEN}


def spec(**fields: Any) -> ContainerSpec:
    """Return the container of a task of `web`."""
    task = Task(**{"service": "web", "kind": "task", "command": ("true",), **fields})
    return task_spec(task, DEFINITION, RELEASE, ENVIRONMENT, instance="default", network="net", change="t1")


def differing(one: ContainerSpec, other: ContainerSpec) -> dict[str, Any]:
    """Return the fields of `other` that differ from `one`."""
    before, after = msgspec.structs.asdict(one), msgspec.structs.asdict(other)
    return {name: after[name] for name in before if before[name] != after[name]}


def test_a_task_differs_from_a_replica_only_in_name_command_address_and_labels() -> None:
    replica = container_spec(
        DEFINITION, RELEASE, ENVIRONMENT, instance="default", network="net", kind="service", change="c1", name="1",
        address="10.1.0.5:80",
    )  # fmt: skip
    assert replica.name == "web-r1-c1-1"
    assert replica.labels == {
        "team": "shop",
        "conductor.instance": "default",
        "conductor.name": "web-r1-c1-1",
        "conductor.service": "web",
        "conductor.revision": "r1",
        "conductor.kind": "service",
        "conductor.definition": DEFINITION.digest,
        "conductor.release": "c1",
        "conductor.change": "c1",
        "conductor.address": "10.1.0.5:80",
        "conductor.job": "",
        "conductor.deadline": "",
    }
    different = differing(replica, spec())
    assert different.pop("labels") == {
        **replica.labels,
        "conductor.name": "web-r1-t1-task",
        "conductor.kind": "task",
        "conductor.change": "t1",
        "conductor.address": "",
    }
    assert different == {"name": "web-r1-t1-task", "command": ("true",), "ip": None}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tty": True, "stdin": True}, {"tty": True, "stdin": True}),
        ({"name": "mine"}, {"name": "mine", "labels": {**spec().labels, "conductor.name": "mine"}}),
        ({"workdir": "/srv"}, {"workdir": "/srv"}),
        ({"env": {"A": "x", "NEW": ""}}, {"environment": {"A": "x", "B": "2", "TOKEN": TOKEN, "NEW": ""}}),
        ({"env": {"TOKEN": "mine"}}, {"environment": {"A": "1", "B": "2", "TOKEN": "mine"}}),
        ({"revision": "r1", "timeout": 3.0, "detach": True}, {}),
    ],
)
def test_each_option_changes_its_own_part_of_the_container(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert differing(spec(), spec(**fields)) == expected


def test_a_cron_job_has_a_label_with_its_key() -> None:
    different = differing(spec(), spec(kind="cron", job="k1"))
    assert different["name"] == "web-r1-t1-cron"
    assert different["labels"]["conductor.kind"] == "cron"
    assert different["labels"]["conductor.job"] == "k1"
    assert spec().labels["conductor.job"] == ""


def test_a_time_limit_is_a_label_with_the_grace() -> None:
    labels = with_deadline(spec(), 1000.0, 60.0).labels
    assert labels == {**spec().labels, "conductor.deadline": "1063"}
    assert with_deadline(spec(), 1000.0, None) == spec()


def test_a_task_of_a_published_service_publishes_no_port() -> None:
    published = restore("web", {**WRITTEN, "publish": [21000, 21015]})
    task = Task(service="web", kind="console", command=("sh",))
    found = task_spec(task, published, RELEASE, {}, instance="default", network="net", change="t1")
    assert (found.ip, found.publish, found.labels["conductor.address"]) == (None, None, "")
