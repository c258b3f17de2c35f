"""Routes and ports as the kernel prints them."""

import os

import pytest

from conductor.plan.replica import ContainerUsage
from conductor.runtime.docker.kernel import ephemeral_ports, listeners, overlapping_route, usage

TABLE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
tun0\t0000D50A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("subnet", "route"),
    [
        ("172.30.0.0/20", None),
        ("192.168.1.128/25", "192.168.1.0/24 dev eth0"),
        ("192.168.0.0/16", "192.168.1.0/24 dev eth0"),
        ("10.213.0.0/20", "10.213.0.0/16 dev tun0"),
    ],
)
def test_overlapping_route(tmp_path, subnet, route):
    table = tmp_path / "route"
    table.write_text(TABLE)
    assert overlapping_route(subnet, table) == route
    assert overlapping_route(subnet, tmp_path / "none") is None


def test_ephemeral_ports(tmp_path):
    setting = tmp_path / "range"
    setting.write_text("32768\t60999\n")
    assert ephemeral_ports(setting) == (32768, 60999)
    setting.write_text("1024 65535\n")
    assert ephemeral_ports(setting) == (1024, 65535)


def test_listeners(tmp_path):
    """Only of the namespace that has one of the container's addresses; a kernel without IPv6 has no table of it."""
    tables = tmp_path / "42" / "net"
    tables.mkdir(parents=True)
    (tables / "fib_trie").write_text("Local:\n  +-- 172.18.0.0/16 2 0 2\n     |-- 172.18.0.2\n        /32 host LOCAL\n")
    (tables / "tcp").write_text("   0: 0100007F:1F90 00000000:0000 0A 0\n")
    assert [str(one) for one in listeners(42, ["172.18.0.2"], tmp_path) or ()] == ["127.0.0.1:8080"]
    (tables / "tcp6").write_text(f"   0: {'0' * 32}:1F91 {'0' * 32}:0000 0A 0\n")
    assert [str(one) for one in listeners(42, ["172.18.0.2"], tmp_path) or ()] == ["127.0.0.1:8080", "[::]:8081"]
    assert listeners(42, ["172.18.0.3"], tmp_path) is None
    assert listeners(0, ["172.18.0.2"], tmp_path) is None


V2 = {"memory.current": "1000\n", "memory.max": "4096\n", "memory.stat": "anon 5\ninactive_file 300\nactive_file 7\n"}
V1 = {
    "memory.usage_in_bytes": "1000\n",
    "memory.limit_in_bytes": "4096\n",
    "memory.stat": "inactive_file 1\ntotal_inactive_file 300\n",
}
UNLIMITED = {**V2, "memory.max": "max\n"}, {**V1, "memory.limit_in_bytes": "9223372036854771712\n"}


@pytest.mark.parametrize(
    ("place", "files", "limit"),
    [
        ("system.slice/docker-abc.scope", V2, 4096),
        ("docker/abc", V2, 4096),
        ("docker/abc", UNLIMITED[0], None),
        ("memory/docker/abc", V1, 4096),
        ("memory/system.slice/docker-abc.scope", UNLIMITED[1], None),
    ],
)
def test_usage(tmp_path, place, files, limit):
    """The oldest process started 70 s after the boot, which was 100 s ago. The one with pid 9 has ended meanwhile."""
    ticks = os.sysconf("SC_CLK_TCK")
    cgroup = tmp_path / place
    cgroup.mkdir(parents=True)
    for name, text in {**files, "cgroup.procs": "12\n9\n7\n"}.items():
        (cgroup / name).write_text(text)
    (tmp_path / "uptime").write_text("100.00 50.00\n")
    for pid, started in (("12", 80), ("7", 70)):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "stat").write_text(f"{pid} (a) b) S 1 {'0 ' * 17}{started * ticks} 0\n")
    found = usage("abc", 2000.0, tmp_path, tmp_path)
    assert found == ContainerUsage(memory=700, memory_limit=limit, started=1970.0)
    (tmp_path / "uptime").unlink()
    assert usage("abc", 2000.0, tmp_path, tmp_path) == ContainerUsage(memory=700, memory_limit=limit)
    assert usage("abd", 2000.0, tmp_path, tmp_path) is None
    (cgroup / "memory.stat").write_text("")
    assert usage("abc", 2000.0, tmp_path, tmp_path) is None
