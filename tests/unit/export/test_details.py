"""Values that a format needs in another form."""

from typing import Any

import pytest
import yaml

from conductor.definitions.load import restore
from conductor.export import compose, kubernetes, quadlet
from conductor.export.export import Source

CRONTAB = """\
MAILTO=root
SHELL=/bin/bash
*/30 * * * * bin/report 50\\% "$HOME"
HOME=/srv
0 4 * * 5-7 bin/weekly
@daily bin/daily
@reboot bin/reboot
1 2 * * * bin/stdin%hello
1 2 */2 * mon bin/both
1 2 */2 * * bin/one
"""


def source(service: str = "web", /, *, crontab: str = "", **keys: Any) -> Source:
    written = {"image": "x", "health": {"none": True}, **keys}
    return Source(service, restore(service, written).service, "r1", crontab)


def composed(**keys: Any) -> dict[str, Any]:
    [text] = compose.export([source(**keys)]).files.values()
    found: dict[str, Any] = yaml.safe_load(text)["services"]["web"]
    return found


def manifests(*sources: Source) -> list[dict[str, Any]]:
    [text] = kubernetes.export(sources).files.values()
    return list(yaml.safe_load_all(text))


def container(**keys: Any) -> dict[str, Any]:
    [one] = manifests(source(**keys))[0]["spec"]["template"]["spec"]["containers"]
    return dict(one)


def unit(**keys: Any) -> list[str]:
    [text] = quadlet.export([source(**keys)]).files.values()
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_texts_that_other_readers_of_yaml_take_for_numbers_are_quoted() -> None:
    values = {"AA": "1e3", "BB": "0o17", "CC": "yes", "DD": "y", "EE": ".5", "FF": "12:30", "GG": "null", "HH": "plain"}
    [text] = compose.export([source(env=values)]).files.values()
    written = dict(line.strip().split(": ") for line in text.splitlines() if ": " in line)
    assert {name for name in values if written[name][0] not in "'\""} == {"HH"}
    assert yaml.safe_load(text)["services"]["web"]["environment"] == values


def test_nothing_expands_a_variable() -> None:
    text = "$A ${A} $(A) $$ %h"
    assert composed(command=[text])["command"] == ["$$A $${A} $$(A) $$$$ %h"]
    assert container(command=[text])["args"] == ["$$A $${A} $$(A) $$$$ %h"]
    assert container(env={"A": text})["env"] == [{"name": "A", "value": "$$A $${A} $$(A) $$$$ %h"}]
    assert 'Exec="$$A $${A} $$(A) $$$$ %%h"' in unit(command=[text])


def test_a_secret_is_a_variable_of_compose() -> None:
    one = composed(env={"DB_URL": {"file": "/s/db"}, "DB.URL": {"file": "/s/other"}, "SAME": {"file": "/s/db"}})
    assert one["environment"] == {
        "DB_URL": "${WEB_DB_URL:?see the top of this file}",
        "DB.URL": "${WEB_DB_URL_2:?see the top of this file}",
        "SAME": "${WEB_DB_URL:?see the top of this file}",
    }


@pytest.mark.parametrize(("count", "ports"), [(0, "21000"), (1, "21000"), (3, "21000-21002")])
def test_published_ports_are_those_of_the_replicas(count: int, ports: str) -> None:
    keys: dict[str, Any] = {"port": 80, "publish": [21000, 21015], "count": count}
    assert composed(**keys)["ports"] == [f"127.0.0.1:{ports}:80"]
    files = quadlet.export([source(**keys)]).files
    assert sorted(files) == {0: [], 1: ["web.container"], 3: [f"web@{n}.container" for n in (1, 2, 3)]}[count]
    for number, text in enumerate(files.values()):
        assert f"\nPublishPort=127.0.0.1:{21000 + number}:80\n" in text


@pytest.mark.parametrize(
    ("service", "name"),
    [("shop_web", "shop-web"), ("9lives", "s-9lives"), ("a_", "a"), ("x" * 63, "x" * 60), ("x" * 59 + "_b", "x" * 59)],
)
def test_names_of_kubernetes(service: str, name: str) -> None:
    assert [one["metadata"]["name"] for one in manifests(source(service, port=80))] == [name, name]


def test_two_services_never_have_one_name() -> None:
    assert [one["metadata"]["name"] for one in manifests(source("a_b"), source("a-b"))] == ["a-b", "a-b-2"]


def test_the_jobs_of_a_crontab() -> None:
    cron = {"generate": ["x"], "overlap": "skip", "timeout": "90s"}
    one = source("shop", crontab=CRONTAB, count=0, cron=cron, env={"A": "1", "HOME": "/root"}, entrypoint=["env"])
    jobs = [manifest for manifest in manifests(one) if manifest["kind"] == "CronJob"]
    specs = [job["spec"] for job in jobs]
    pods = [spec["jobTemplate"]["spec"]["template"]["spec"] for spec in specs]
    first, second, *_ = (pod["containers"][0] for pod in pods)
    assert [job["metadata"]["name"] for job in jobs] == ["shop-job-1", "shop-job-2", "shop-job-3", "shop-job-7"]
    assert [spec["schedule"] for spec in specs] == ["*/30 * * * *", "0 4 * * 0,5,6", "@daily", "1 2 */2 * *"]
    assert {spec["concurrencyPolicy"] for spec in specs} == {"Forbid"}
    assert {spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] for spec in specs} == {90}
    assert {pod["restartPolicy"] for pod in pods} == {"Never"}
    assert (first["command"], first["args"]) == (["env"], ["/bin/bash", "-c", 'bin/report 50% "$$HOME"'])
    assert [(one["name"], one["value"]) for one in first["env"]] == [
        ("A", "1"),
        ("HOME", "/root"),
        ("SHELL", "/bin/bash"),
    ]
    assert second["workingDir"] == "/srv"
    assert [(one["name"], one["value"]) for one in second["env"]] == [
        ("A", "1"),
        ("SHELL", "/bin/bash"),
        ("HOME", "/srv"),
    ]
    noted = [note.partition(" (")[0] for note in kubernetes.export([one]).notes if note.startswith("cron, ")]
    assert noted == ["cron, line 7", "cron, line 8", "cron, line 9"]


def test_zero_is_a_value() -> None:
    one = source(user="0:0", stop={"grace": "0s"})
    pod = manifests(one)[0]["spec"]["template"]["spec"]
    assert (pod["securityContext"], pod["terminationGracePeriodSeconds"]) == ({"runAsUser": 0, "runAsGroup": 0}, 0)
    assert "StopTimeout=0" in unit(stop={"grace": "0s"})
    assert composed(count=0)["scale"] == 0


def test_two_jobs_never_have_one_name() -> None:
    keys: dict[str, Any] = {"crontab": "* * * * * a\n", "count": 0, "cron": {"generate": ["x"]}}
    made = manifests(source("x" * 60 + "_a", **keys), source("x" * 60 + "_b", **keys))
    names = [one["metadata"]["name"] for one in made if one["kind"] == "CronJob"]
    assert len(set(names)) == 2
    assert max(map(len, names)) <= 52


def test_a_long_name_leaves_room_for_the_job() -> None:
    one = source("x" * 63, crontab="* * * * * a\n", count=0, cron={"generate": ["x"]})
    assert manifests(one)[1]["metadata"]["name"] == "x" * 42 + "-job-1"


@pytest.mark.parametrize(
    ("keys", "noted"),
    [
        ({"command": ["a", "", "b"]}, "command"),
        ({"volumes": [{"type": "bind", "source": "/a:b", "target": "/c"}]}, "volumes"),
        ({"volumes": [{"type": "bind", "source": "/a", "target": "/c"}]}, ""),
        ({"image": "shop/app"}, "image"),
        ({"image": "localhost/shop"}, ""),
        ({"image": "127.0.0.1:5000/shop"}, ""),
    ],
)
def test_what_quadlet_cannot_write(keys: dict[str, Any], noted: str) -> None:
    keyed = [
        note.partition(" (")[0]
        for note in quadlet.export([source(**{"image": "r.example.com/x", **keys})]).notes
        if "(web)" in note
    ]
    assert keyed == ["health.none", *([noted] if noted else [])]


@pytest.mark.parametrize(
    ("keys", "noted"),
    [
        ({"user": "app"}, "user"),
        ({"user": "1000"}, ""),
        ({"hostname": "Shop.example"}, "hostname"),
        ({"hostname": "shop"}, ""),
        ({"extra_hosts": {"a": "host-gateway"}}, "extra_hosts.a"),
        ({"labels": {"a!": "b"}}, "labels.a!"),
        ({"security_opt": ["label=disable"]}, "security_opt.label=disable"),
        ({"tmpfs": ["/a:size=50%"]}, "tmpfs./a:size=50%"),
        ({"tmpfs": ["/a:size=1m"]}, ""),
        ({"health": {"path": "/", "headers": {"A": {"file": "/s"}}}, "port": 80}, "health.headers.A"),
    ],
)
def test_what_kubernetes_cannot_express(keys: dict[str, Any], noted: str) -> None:
    keyed = [note.partition(" (")[0] for note in kubernetes.export([source(**keys)]).notes if "(web)" in note]
    assert keyed == [noted] * bool(noted)


def test_the_built_in_restrictions_are_written_out() -> None:
    service = composed()
    assert (service["security_opt"], service["pids_limit"]) == (["no-new-privileges"], 4096)
    assert service["cap_drop"] == ["AUDIT_WRITE", "MKNOD", "NET_RAW"]
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["AUDIT_WRITE", "MKNOD", "NET_RAW"]},
    }  # fmt: skip
    lines = unit()
    for line in ("PodmanArgs=--security-opt=no-new-privileges", "PidsLimit=4096", "DropCapability=NET_RAW"):
        assert line in lines
