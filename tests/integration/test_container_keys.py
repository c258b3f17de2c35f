"""Keys of a definition that only a real daemon can prove: they arrive in the containers of replicas and of tasks."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import docker.errors
import docker.types
import pytest

from conductor.plan.backoff import SPACING_SECONDS
from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.host import TestHost, merged

RESOLVE = "import socket; print(socket.gethostbyname('shop'))"
# Port 8080 serves the fixture app, port 8081 the health check, which requires a header and answers with a redirect.
MANAGEMENT = """
import http.server, socket, subprocess, time
subprocess.Popen(["python3", "-I", "-S", "-B", "/app/app.py"])
while socket.socket().connect_ex(("127.0.0.1", 8080)):  # the check does not see that port
    time.sleep(0.01)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers["Authorization"] == "Bearer token-5512" and self.headers["X-Check"] == "yes"
        self.send_response(302 if known else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("", 8081), Answer).serve_forever()
"""


def inspected(host: TestHost, service: str = "web") -> list[dict[str, Any]]:
    found = [one for one in host.containers(service) if one.kind == "service"]
    return [host.daemon.api.inspect_container(one.id) for one in found]


def test_keys_reach_replicas_and_tasks(host: TestHost) -> None:
    host.define(
        {
            "web": merged(
                QUICK,
                {
                    "security_opt": ["no-new-privileges"],
                    "sysctls": {"net.ipv4.ip_local_port_range": "20000 30000"},
                    "pids_limit": 50,
                    "hostname": "shop.example",
                    "dns": {"servers": ["192.0.2.53"], "search": ["shop.internal"], "options": ["ndots:3"]},
                    "devices": ["/dev/zero:/dev/nothing:r"],
                },
            )
        }
    )
    host.upgrade("r1", check=True)
    (replica,) = inspected(host)
    settings = replica["HostConfig"]
    assert (replica["Config"]["Hostname"], settings["PidsLimit"], settings["Dns"]) == (
        "shop.example",
        50,
        ["192.0.2.53"],
    )
    (device,) = settings["Devices"]
    assert (device["PathInContainer"], device["CgroupPermissions"]) == ("/dev/nothing", "r")
    script = (
        "hostname; cat /etc/resolv.conf /proc/sys/net/ipv4/ip_local_port_range; grep NoNewPrivs /proc/self/status; "
        "head -c 3 /dev/nothing | od -An -tx1"
    )
    output = host.conductor("run", "--id", "web", "sh", "-c", script, check=True).stdout
    words = output.split()
    assert words[0] == "shop.example"
    for expected in ("search shop.internal", "ndots:3", "20000\t30000", "NoNewPrivs:\t1", "00 00 00"):
        assert expected in output
    nothing_left_behind(host, "r1")


# A program with the set-user-ID bit, which the user nobody runs.
SETUID = (
    "cp $(readlink -f $(command -v id)) /tmp/id && chmod 4755 /tmp/id && "
    "exec setpriv --reuid=65534 --clear-groups /tmp/id -u"
)
RESTRICTED = "grep -E 'NoNewPrivs|CapBnd' /proc/self/status; cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; true"
NET_RAW, MKNOD, AUDIT_WRITE = 13, 27, 29  # linux/capability.h


def capabilities(output: str) -> int:
    return int(output.partition("CapBnd:")[2].split()[0], 16)


def test_what_a_container_may_not_do_unless_its_definition_allows_it(host: TestHost) -> None:
    host.define({"web": QUICK})
    host.upgrade("r1", check=True)
    output = host.conductor("run", "--id", "web", "sh", "-c", RESTRICTED, check=True).stdout
    assert "NoNewPrivs:\t1" in output
    assert not any(capabilities(output) >> one & 1 for one in (NET_RAW, MKNOD, AUDIT_WRITE))
    assert output.split()[-1] == "4096"
    assert host.conductor("run", "--id", "web", "sh", "-c", SETUID, check=True).stdout.strip() == "65534"
    allowed = {"security_opt": ["no-new-privileges:false"], "cap_add": ["NET_RAW"], "pids_limit": -1}
    host.define({"web": merged(QUICK, allowed)})
    host.conductor("service", "restart", "--id", "web", check=True)
    output = host.conductor("run", "--id", "web", "sh", "-c", RESTRICTED, check=True).stdout
    assert "NoNewPrivs:\t0" in output
    assert capabilities(output) >> NET_RAW & 1
    assert output.split()[-1] == "max"
    assert host.conductor("run", "--id", "web", "sh", "-c", SETUID, check=True).stdout.strip() == "0"
    nothing_left_behind(host, "r1")


def test_options_of_volumes(host: TestHost) -> None:
    data, volume = host.directory / "data", f"{host.instance}-cache"
    data.mkdir()
    (data / "settings").write_text("kept")
    volumes = [
        f"{data}:/short:ro,private",
        {"type": "bind", "source": str(data / "settings"), "target": "/settings", "read_only": True},
        {"type": "bind", "source": str(data), "target": "/long", "bind": {"propagation": "private"}},
        {"type": "volume", "source": volume, "target": "/etc/apt", "volume": {"nocopy": True}},
    ]
    host.define({"web": merged(QUICK, {"volumes": volumes})})
    try:
        host.upgrade("r1", check=True)
        (replica,) = inspected(host)
        mounts = {one["Destination"]: (one["Type"], one["RW"], one["Propagation"]) for one in replica["Mounts"]}
        assert mounts == {
            "/short": ("bind", False, "private"),
            "/settings": ("bind", False, "rprivate"),
            "/long": ("bind", True, "private"),
            "/etc/apt": ("volume", True, ""),
        }
        script = "cat /settings; ls /etc/apt; touch /short/x || touch /long/x"
        assert host.conductor("run", "--id", "web", "sh", "-c", script, check=True).stdout == "kept"
        assert (data / "x").exists()
        (data / "settings").unlink()
        failed(host.upgrade("r2"), 1, f"cannot mount {data}/settings: it does not exist", "web is still running r1")
        assert not (data / "settings").exists()
        nothing_left_behind(host, "r1")
    finally:
        host.daemon.remove_all()
        with contextlib.suppress(docker.errors.NotFound):
            host.daemon.api.remove_volume(volume)


@pytest.fixture
def network(host: TestHost) -> Iterator[str]:
    """An existing network that is not Conductor's."""
    name = f"{host.instance}-side"
    pool = docker.types.IPAMPool(subnet=host.claims.subnet())
    host.daemon.api.create_network(name, driver="bridge", ipam=docker.types.IPAMConfig(pool_configs=[pool]))
    yield name
    host.daemon.remove_all()
    host.daemon.api.remove_network(name)


def test_additional_networks(host: TestHost, network: str) -> None:
    joined = {"networks": [{"name": network, "aliases": ["shop"]}, {"name": host.network, "aliases": ["own"]}]}
    host.define({"web": merged(QUICK, joined), "other": merged(QUICK, {"networks": [network]})})
    host.upgrade("r1", check=True)
    (replica,) = inspected(host)
    networks = replica["NetworkSettings"]["Networks"]
    assert set(networks) == {host.network, network}
    assert "shop" in networks[network]["Aliases"]
    assert "own" in networks[host.network]["Aliases"]
    assert host.get().revision == "r1"
    found = host.conductor("run", "--id", "other", "--revision", "r1", "python3", "-c", RESOLVE, check=True).stdout
    assert found.strip() == networks[network]["IPAddress"]
    host.daemon.api.remove_container(replica["Id"], force=True)
    time.sleep(SPACING_SECONDS)  # since the replica was created: supervise may act at once
    host.conductor("supervise", "--once", check=True)
    (again,) = inspected(host)
    assert "shop" in again["NetworkSettings"]["Networks"][network]["Aliases"]
    host.upgrade("r2", check=True)
    assert host.get().revision == "r2"
    nothing_left_behind(host, "r2")
    assert [one["Name"] for one in host.daemon.api.networks(names=[network])] == [network]


def test_a_missing_network_refuses_before_anything_starts(host: TestHost, network: str) -> None:
    host.define({"web": merged(QUICK, {"networks": [network]})})
    host.upgrade("r1", check=True)
    missing = f"{network}-2"
    host.define({"web": merged(QUICK, {"networks": [network, missing]})})
    failed(
        host.upgrade("r2"), 1, f"cannot connect containers to network {missing}: it does not exist",
        f"docker network create {missing}", "web is still running r1",
    )  # fmt: skip
    failed(host.conductor("run", "--id", "web", "--revision", "r2", "true"), 125, f"network {missing} not found")
    nothing_left_behind(host, "r1")


def test_a_check_of_another_port_with_headers_and_statuses(host: TestHost) -> None:
    script, token = host.directory / "management.py", host.directory / "token"
    script.write_text(MANAGEMENT)
    token.write_text("Bearer token-5512\n")
    service = merged(
        QUICK,
        {
            "init": True,
            "command": ["python3", "/management.py"],
            "volumes": [f"{script}:/management.py:ro"],
            "health": {
                "path": "/", "port": 8081, "status": [204, 302], "start_timeout": "5s",
                "headers": {"Authorization": {"file": str(token)}, "X-Check": "yes"},
            },
        },
    )  # fmt: skip
    host.define({"web": service})
    host.upgrade("r1", check=True)
    assert host.get().revision == "r1"
    token.write_text("Bearer another-7781\n")
    result = host.upgrade("r2")
    failed(result, 1, "status 401", "web is still running r1")
    assert "another-7781" not in result.output
    token.write_text("Bearer token-5512\n")
    host.upgrade("r2", check=True)
    assert host.get().revision == "r2"
    nothing_left_behind(host, "r2")


WORKER = "trap 'echo term >>/events/log; {ending}; echo gone >>/events/log; exit 0' TERM; while :; do sleep 0.05; done"


def define_worker(host: TestHost, ending: str, **more: Any) -> None:
    """Define a worker that runs a line of shell after its stop signal, and logs what happens to it."""
    directory = host.directory / "events"
    directory.mkdir(exist_ok=True)
    health = {
        **dict.fromkeys(("path", "gate_interval", "timeout", "start_timeout")),
        "none": True,
        "stable_for": "300ms",
    }
    service = {
        "count": 1, "nginx": None, "port": None, "health": health, "volumes": [f"{directory}:/events"],
        "command": ["sh", "-c", WORKER.format(ending=ending)],
        "before_stop": {"command": ["sh", "-c", "echo quiet >>/events/log"]},
    }  # fmt: skip
    host.define({"web": {**service, **more}})


def events(host: TestHost) -> list[str]:
    log = host.directory / "events" / "log"
    return log.read_text().split() if log.exists() else []


def test_a_command_before_the_stop_signal(host: TestHost) -> None:
    define_worker(host, "sleep 0.5", stop={"grace": "20s"})
    host.upgrade("r1", check=True)
    host.upgrade("r2", check=True)
    assert events(host) == ["quiet", "term", "gone"]
    host.conductor("service", "stop", "--id", "web", check=True)
    assert events(host) == ["quiet", "term", "gone"] * 2


def test_a_command_before_the_stop_signal_that_hangs(host: TestHost) -> None:
    define_worker(
        host, "sleep 0.1", stop={"grace": "20s"}, before_stop={"command": ["sleep", "600"], "timeout": "700ms"}
    )
    host.upgrade("r1", check=True)
    result = host.upgrade("r2", check=True)
    assert "failed: sleep did not finish within 0.7s" in result.stderr
    assert events(host) == ["term", "gone"]
    nothing_left_behind(host, "r2")


def test_a_deploy_that_does_not_wait_for_old_replicas(host: TestHost) -> None:
    define_worker(host, "while [ ! -e /events/go ]; do sleep 0.05; done", stop={"grace": "60s", "wait": False})
    host.upgrade("r1", check=True)
    result = host.upgrade("r2", check=True)
    assert (
        "1 replica of web may keep running for another 1m; supervise or the next change will remove it" in result.stderr
    )
    host.wait_for(lambda: events(host) == ["quiet", "term"], "the trap of the old worker")
    assert host.revisions() == ["r1", "r2"]
    status = host.conductor("service", "status", "--id", "web", check=True).stdout
    assert "old replicas that are stopping: " in status
    host.conductor("supervise", "--once", check=True)
    assert host.revisions() == ["r1", "r2"]
    assert "nothing to do" in host.upgrade("r2", check=True).stderr
    (host.directory / "events" / "go").touch()
    host.wait_for(lambda: events(host) == ["quiet", "term", "gone"], "the end of the old worker")
    host.wait_for(lambda: host.revisions() == ["r2"], "its exit")
    host.conductor("supervise", "--once", check=True)
    assert [one.revision for one in host.containers("web")] == ["r2"]
    assert (host.wanted() or {})["retiring"] == []


def test_an_old_replica_that_is_not_waited_for_is_killed_after_its_grace(host: TestHost) -> None:
    define_worker(host, "sleep 600", stop={"grace": "3s", "wait": False})
    host.upgrade("r1", check=True)
    host.upgrade("r2", check=True)
    time.sleep(3)
    result = host.conductor("service", "scale", "--id", "web", "--count", "2", check=True)
    assert "did not stop within 3s and was killed" in result.stderr
    assert host.revisions() == ["r2", "r2"]
