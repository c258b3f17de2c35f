"""A silent registry, a full stdout, one damaged state file, an unhealthy service, and a copy of a replica."""

import json
import signal
import socket
from pathlib import Path

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.host import TestHost, merged


def test_ctrl_c_while_a_registry_is_silent(serving: TestHost) -> None:
    """The daemon waits for the registry, and Conductor for the daemon: Ctrl-C ends the command at once."""
    with socket.create_server(("127.0.0.1", 0)) as registry:
        image = f"127.0.0.1:{registry.getsockname()[1]}/app"
        serving.define({"web": merged(QUICK, {"image": image})})
        upgrade = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
        registry.settimeout(20)
        connection, _ = registry.accept()  # the daemon gets no answer
        upgrade.signal(signal.SIGINT)
        result = upgrade.wait(10)
        connection.close()
    failed(result, 130, "interrupted")
    nothing_left_behind(serving, "r1")


def test_an_answer_to_a_full_disk(serving: TestHost) -> None:
    for words in (("service", "status"), ("service", "list", "--json"), ("nginx", "show"), ("config", "show")):
        with Path("/dev/full").open("w") as full:
            result = serving.conductor(*words, stdout=full)
        assert (result.code, result.stderr) == (1, "error: cannot write to stdout: No space left on device\n")


def test_a_damaged_file_among_good_ones(serving: TestHost) -> None:
    serving.define({"web": QUICK, "worker": QUICK})
    damaged = serving.state_dir / "services" / "worker.json"
    damaged.write_text("{")
    try:
        listed = json.loads(serving.conductor("service", "list", "--json", check=True).stdout)["services"]
        status = serving.conductor("service", "status", check=True).stdout
    finally:
        damaged.unlink()
    assert {row["service"]: row["condition"] for row in listed} == {"web": "ok", "worker": "damaged-state"}
    assert f"\nworker  -  0/0  damaged state\n  cannot read {damaged}: it is damaged" in status


def test_an_unhealthy_service_is_not_ok(serving: TestHost) -> None:
    """It runs and fails the checks of the definition that it was started with: `list` reports it as unhealthy."""
    health = {**QUICK["health"], "path": None, "command": ["test", "!", "-e", "/tmp/unhealthy"]}
    serving.define({"web": {**QUICK, "health": health}})
    serving.upgrade("r2", check=True)
    (container,) = serving.containers("web")
    exec_id = serving.daemon.api.exec_create(container.id, ["touch", "/tmp/unhealthy"])["Id"]
    serving.daemon.api.exec_start(exec_id)
    serving.define({"web": QUICK})
    (row,) = json.loads(serving.conductor("service", "list", "--json", check=True).stdout)["services"]
    assert (row["condition"], row["running"], row["healthy"]) == ("unhealthy", 1, 0)
    assert [(one["state"], one["health"]) for one in row["replicas"]] == [("running", "unhealthy")]
    assert "drifted" in [note["kind"] for note in row["notes"]]


def test_a_container_of_a_committed_replica_is_its_owners(serving: TestHost) -> None:
    """An image that `docker commit` makes of a replica has its labels, and a container of the image inherits them."""
    (replica,) = serving.containers("web")
    api, tag = serving.daemon.api, f"{serving.instance}:copy"
    api.commit(replica.id, *tag.split(":"))
    copy = api.create_container(tag, name=f"{serving.instance}-copy")["Id"]
    try:
        api.start(copy)
        (row,) = json.loads(serving.conductor("service", "list", "--json", check=True).stdout)["services"]
        assert (row["condition"], row["running"], row["notes"]) == ("ok", 1, [])
        serving.conductor("service", "scale", "--id", "web", "--count", "1", check=True)
        serving.upgrade("r2", check=True)
        serving.conductor("service", "stop", "--id", "web", check=True)
        serving.conductor("gc", check=True)
        assert api.inspect_container(copy)["State"]["Running"]
    finally:
        api.remove_container(copy, force=True)
        api.remove_image(tag, force=True)
