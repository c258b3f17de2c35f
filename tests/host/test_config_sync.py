"""`conductor config sync` as a service of a whole host, beside the store: the printed unit, a change, and a reboot."""

import base64
import json
from pathlib import Path

import pytest

from tests.host.conftest import SERVICES
from tests.support.cookbook import converge
from tests.support.host_image import TRIXIE, Release
from tests.support.machine import Machine

pytestmark = pytest.mark.long
FILE = "/etc/conductor/services.yml"
UNIT = "conductor-sync.service"
KEY = "conductor/web1"
EXPOSURE = 2.0
STORE = """\
[Service]
ExecStart=/usr/local/bin/etcd --data-dir /var/lib/etcd
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module", params=[TRIXIE], ids=["trixie"])
def release(request: pytest.FixtureRequest) -> Release:
    """The release of the host: this machine's etcd also runs on the newest one."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def host(bare: Machine) -> Machine:
    converge(bare, {"jobs": SERVICES["jobs"]})
    bare.put("/usr/local/bin/etcd", Path("/usr/bin/etcd").read_bytes(), 0o755)
    bare.put("/etc/systemd/system/etcd.service", STORE)
    bare.run("systemctl", "enable", "--now", "etcd")
    return bare


def put(host: Machine, text: str) -> None:
    key, value = (base64.b64encode(one.encode()).decode() for one in (KEY, text))
    words = ["curl", "--fail", "--silent", "--retry", "10", "--retry-connrefused", "--retry-delay", "1"]
    host.run(*words, "--data", json.dumps({"key": key, "value": value}), "http://127.0.0.1:2379/v3/kv/put")


def test_the_unit_follows_the_store(host: Machine) -> None:
    original = host.read(FILE)
    changed = original.replace('"count": 0', '"count": 0, "labels": {"a": "b"}')
    assert changed != original
    put(host, original)
    url = f"etcd://127.0.0.1/{KEY}"
    host.run("sh", "-c", f"conductor config sync --from {url} --print-unit >/etc/systemd/system/{UNIT}")
    assert host.run("systemd-analyze", "verify", UNIT).output == ""
    said = host.run("systemd-analyze", "security", "--no-pager", UNIT).stdout
    exposure = float(said.partition(f"exposure level for {UNIT}: ")[2].split()[0])
    print(f"exposure {exposure}")
    assert exposure <= EXPOSURE, said
    host.run("systemctl", "enable", "--now", UNIT)
    host.wait_for(lambda: "up to date" in journal(host), lambda: journal(host))
    put(host, changed)
    host.wait_for(lambda: host.read(FILE) == changed, lambda: journal(host))
    assert host.run("stat", "--format", "%a %U:%G", FILE).stdout == "640 root:root\n"
    host.reboot()
    put(host, original)
    host.wait_for(lambda: host.read(FILE) == original, lambda: journal(host))
    put(host, original[:-20])
    host.wait_for(lambda: f"cannot use {url}" in journal(host), lambda: journal(host))
    assert host.read(FILE) == original
    assert host.run("systemctl", "--failed", "--no-legend").stdout == ""
    host.run("systemctl", "stop", UNIT)
    assert host.run("systemctl", "show", "--value", "--property", "Result", UNIT).stdout == "success\n"


def journal(host: Machine) -> str:
    return host.run("journalctl", "--no-pager", "--unit", UNIT).stdout
