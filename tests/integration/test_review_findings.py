"""What a review by fresh eyes found at the edges: a silent registry, a full stdout, a damaged file among good ones."""

import signal
import socket
from pathlib import Path

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.host import TestHost, merged


def test_ctrl_c_while_a_registry_is_silent(serving: TestHost) -> None:
    """The daemon waits for the registry, and we for the daemon: heard at once, and no reader keeps the process alive."""
    with socket.create_server(("127.0.0.1", 0)) as registry:
        image = f"127.0.0.1:{registry.getsockname()[1]}/app"
        serving.define({"web": merged(QUICK, {"image": image})})
        upgrade = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
        registry.settimeout(20)
        connection, _ = registry.accept()  # the daemon asks, and gets no answer
        upgrade.signal(signal.SIGINT)
        result = upgrade.wait(3)
        connection.close()
    failed(result, 130, "interrupted")
    nothing_left_behind(serving, "r1")


def test_an_answer_to_a_full_disk(serving: TestHost) -> None:
    for words in (("service", "status"), ("service", "list", "--json"), ("nginx", "show"), ("config", "show")):
        with Path("/dev/full").open("w") as full:
            result = serving.conductor(*words, stdout=full)
        assert (result.code, result.stderr) == (1, "error: cannot write the answer: No space left on device\n")


def test_a_damaged_file_among_good_ones(serving: TestHost) -> None:
    serving.define({"web": QUICK, "worker": QUICK})
    damaged = serving.state_dir / "services" / "worker.json"
    damaged.write_text("{")
    try:
        listed = serving.conductor("service", "list", check=True).stdout.splitlines()
        status = serving.conductor("service", "status", check=True).stdout
    finally:
        damaged.unlink()
    assert [line.split() for line in listed[1:]] == [["web", "r1", "1/1", "ok"], ["worker", "-", "0/0", "damaged"]]
    assert f"\nworker  -  0/0  damaged\n  cannot use {damaged}: it is damaged" in status


def test_a_service_that_is_ill_is_not_ok(serving: TestHost) -> None:
    """It runs and fails its checks: `list` says so, by the definition it was started with."""
    health = {**QUICK["health"], "path": None, "command": ["test", "!", "-e", "/tmp/ill"]}
    serving.define({"web": {**QUICK, "health": health}})
    serving.upgrade("r2", check=True)
    (container,) = serving.containers("web")
    exec_id = serving.daemon.api.exec_create(container.id, ["touch", "/tmp/ill"])["Id"]
    serving.daemon.api.exec_start(exec_id)
    serving.define({"web": QUICK})
    listed = serving.conductor("service", "list", check=True).stdout
    assert listed.splitlines()[1].split(maxsplit=3)[3] == "0 of 1 healthy"
    status = serving.conductor("service", "status", check=True).stdout
    assert "running  test ended with code 1\n" in status
    assert "drifted" in status
