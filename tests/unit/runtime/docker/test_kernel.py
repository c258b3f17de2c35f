"""Routes and ports as the kernel prints them."""

import pytest

from conductor.runtime.docker.kernel import ephemeral_ports, overlapping_route

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
