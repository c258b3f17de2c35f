"""A host built by examples/packer and a second host from its image: it serves without a deploy, and accepts the examples."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.support.cookbook import service
from tests.support.fleet import add_user
from tests.support.host_image import Release
from tests.support.images import APP
from tests.support.machine import Machine
from tests.support.machine_network import Network
from tests.support.real_parts import needs_packer
from tests.support.shop_fleet import settle
from tests.support.site import Site
from tests.support.wheels import wheelhouse

pytestmark = [pytest.mark.long, needs_packer]
EXAMPLES = ROOT / "examples"
REVISION = "1" * 40
PORTS = {"shop_web": 8081}
SERVICES = {
    "shop_web": service("shop_web", PORTS["shop_web"]),
    "shop_worker": {"image": APP, "command": ["sleep", "infinity"], "init": True, "health": {"none": True}},
}
HISTORY = "/var/lib/conductor/history.jsonl"
APP_BOOT_SECONDS = 2.0  # ten times what the fixture app needs on an idle machine
RECOVERY_SECONDS = 10.0  # after Docker is up, without the app's own boot


@pytest.fixture(scope="module")
def baked(images: None, release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A bare machine that Packer has built and that is powered off, like the source of an image."""
    with Machine("bakery", release=release) as machine:
        machine.load_images(f"{APP}:r1")
        machine.run("docker", "tag", f"{APP}:r1", f"{APP}:{REVISION}")
        build(machine, tmp_path_factory.mktemp("packer"))
        settle(Site(machine, PORTS), REVISION, {"shop_web": 2, "shop_worker": 1})
        machine.power_off()
        yield machine


def build(machine: Machine, directory: Path) -> None:
    """Run `packer build` over SSH with the unchanged template."""
    shutil.copytree(EXAMPLES / "packer", directory / "packer")
    (directory / "services.yml").write_text(json.dumps({"version": 1, "services": SERVICES}))
    key = directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    add_user(machine, "admin")
    machine.put("/etc/sudoers.d/admin", "admin ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    machine.put("/home/admin/.ssh/authorized_keys", key.with_suffix(".pub").read_text(), 0o600, owner="admin:admin")
    machine.run("chown", "admin:admin", "/home/admin/.ssh")
    given = {"revision": REVISION, "host": machine.address, "key": key, "wheels": wheelhouse(),
             "definitions": directory / "services.yml"}  # fmt: skip
    words = [word for name, value in given.items() for word in ("-var", f"{name}={value}")]
    done = subprocess.run(
        ["packer", "build", "-color=false", "-only=null.host", *words, "."],
        cwd=directory / "packer",
        env={**os.environ, "CHECKPOINT_DISABLE": "1", "PACKER_CONFIG_DIR": str(directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr + machine.describe()


@pytest.fixture(scope="module")
def module_site(baked: Machine) -> Iterator[Site]:
    """Another host with its own name and address, from a copy of the first host's disk."""
    image = f"conductor-test-baked:{baked.network.token}"
    subprocess.run(["docker", "commit", baked.container, image], check=True, capture_output=True)
    network = Network()
    try:
        network.make()
        options = ("--volumes-from", baked.container)
        with Machine("web7", release=baked.release, network=network, image=image, options=options) as machine:
            yield Site(machine, PORTS)
    finally:
        network.close()
        subprocess.run(["docker", "rmi", "--force", image], check=True, capture_output=True)


@pytest.fixture
def site(module_site: Site, request: pytest.FixtureRequest) -> Iterator[Site]:
    before = request.session.testsfailed
    yield module_site
    if request.session.testsfailed > before:
        print(module_site.machine.describe())


def test_it_serves_after_boot_without_a_deploy(site: Site) -> None:
    began = time.monotonic()  # systemd and Docker are up
    settle(site, REVISION, {"shop_web": 2, "shop_worker": 1})
    took = time.monotonic() - began
    print(f"served {took:.1f} s after the host was up")
    assert took < APP_BOOT_SECONDS + RECOVERY_SECONDS
    actions = [json.loads(line)["action"] for line in site.machine.read(HISTORY).splitlines()]
    assert actions.count("upgrade") == 2, "only those of the build"
    assert site.machine.run("systemctl", "--failed", "--no-legend").stdout == ""


def test_it_has_its_own_identity_and_can_be_upgraded(site: Site, baked: Machine) -> None:
    assert site.machine.run("hostname").stdout == "web7\n"
    assert site.machine.address != baked.address
    assert len(site.machine.read("/etc/machine-id").strip()) == 32
    assert not site.machine.exists("/tmp/bake")
    keys = site.machine.run("sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub").stdout.splitlines()
    assert [key.split()[-1] for key in keys] == ["root@web7"] * 3
    assert site.machine.run("systemctl", "is-active", "ssh").stdout == "active\n"
    site.conductor("service", "upgrade", "--id", "shop_web", "--revision", REVISION, "--force")
    settle(site, REVISION, {"shop_web": 2})


# systemd/conductor-supervise.service.d/site.conf
def test_the_drop_in_is_loaded_and_stops_no_container(site: Site) -> None:
    machine, before = site.machine, site.machine.run("docker", "ps", "--quiet", "--no-trunc").stdout
    drop_in = EXAMPLES / "systemd" / "conductor-supervise.service.d" / "site.conf"
    machine.put("/etc/systemd/system/conductor-supervise.service.d/site.conf", drop_in.read_bytes())
    verified = machine.run("systemd-analyze", "verify", "conductor-supervise.service")
    assert (verified.stdout, verified.stderr) == ("", "")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "conductor-supervise")
    keys = ["ActiveState", "LogRateLimitIntervalUSec", "MemoryMax", "OOMScoreAdjust", "RequiresMountsFor"]
    shown = machine.run("systemctl", "show", "conductor-supervise", *(f"--property={key}" for key in keys)).stdout
    found = dict(line.split("=", 1) for line in shown.splitlines())
    assert found["ActiveState"] == "active"
    assert (found["OOMScoreAdjust"], found["MemoryMax"]) == ("-500", str(512 * 1024**2))
    assert "/srv" in found["RequiresMountsFor"].split()
    assert found["LogRateLimitIntervalUSec"] == "0"
    assert machine.run("docker", "ps", "--quiet", "--no-trunc").stdout == before
