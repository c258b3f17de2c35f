"""Twenty prepared troubles on one host: the first screen of `doctor`, of `status` or of the failed command shows what is wrong
and what to do."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.host.conftest import MACHINES_OWN, PORTS, SERVICES, found
from tests.support.commands import ROOT
from tests.support.cookbook import converge, service
from tests.support.host import merged
from tests.support.host_image import Release
from tests.support.machine import Machine
from tests.support.site import Site, load_app

SCREEN_LINES = 24
WAIT_SECONDS = 60.0
NORMAL = MACHINES_OWN | {"stopped", "replica-restarts"}  # of the service that needs too much memory
DEFINITIONS = "/etc/conductor/services.yml"
SECRET = "/etc/conductor/secrets/shop/PASSWORD"
TMPFILES = "/etc/tmpfiles.d/conductor.conf"
STATE = "/var/lib/conductor"
REGISTRY = "127.0.0.1:5000"
REGISTRY_CONFIG = f"""\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: /srv/registry/data}}}}
http: {{addr: "{REGISTRY}"}}
auth: {{htpasswd: {{realm: tests, path: /srv/registry/htpasswd}}}}
"""
OLD_LOGIN = json.dumps({"auths": {REGISTRY: {"auth": "ZGVwbG95Om9sZA=="}}})  # deploy:old
JOB = "0 4 * * 0 test -e /srv/ok || { echo no space >&2; exit 3; }\n"
HOG = "import time; time.sleep(1.5); x = bytearray(2**30); time.sleep(60)"
STRAY = {
    "instance": "default",
    "service": "shop",
    "kind": "service",
    "release": "0ff",
    "revision": "r0",
    "change": "0ff",
}
APP = "conductor-test-app"
ALL: dict[str, dict[str, Any]] = {
    "shop": merged(SERVICES["shop"], {"command": ["python3", "/sick/sick_app.py"], "volumes": ["/srv/sick:/sick"]}),
    "api": SERVICES["api"],
    "hog": {"image": APP, "command": ["python3", "-c", HOG], "init": True, "memory": "32MiB",
            "health": {"none": True, "stable_for": "100ms"}},
    "private": {"image": f"{REGISTRY}/private", "command": ["sleep", "60"], "health": {"none": True}},
    "late": service("late", 8099, count=1),
    "jobs": {"image": APP, "count": 0, "volumes": ["/srv/jobs:/srv"], "cron": {"generate": ["printf", "%s", JOB]}},
}  # fmt: skip


class Trouble(NamedTuple):
    """Shell commands that make the trouble, show it and end it; and patterns of what the first screen must contain."""

    make: str
    show: str
    cause: str
    cure: str
    end: str


def edit(path: str, expression: str) -> tuple[str, str]:
    """Return commands that edit a file and that restore it."""
    return f"cp -p {path} /root/before; sed -i '{expression}' {path}", f"cp -p /root/before {path}"


def trouble(made: tuple[str, str], show: str, cause: str, cure: str) -> Trouble:
    return Trouble(made[0], show, cause, cure, made[1])


STATUS, DOCTOR, UPGRADE = (
    "conductor service status --id shop",
    "conductor doctor",
    "conductor service upgrade --revision r2",
)
INTERRUPT = f"""
conductor supervise pause --id shop --reason debugging
setsid {UPGRADE} --id shop & upgrade=$!
until grep -q '"start"' {STATE}/journal/shop.json; do sleep 0.02; done
kill -9 $upgrade
"""
JOB_AS_CRON = "sh -c \"$(sed -n 's/^0 4 .* root //p' /etc/cron.d/conductor-jobs)\""
LABELS = " ".join(f"--label conductor.{key}={value}" for key, value in STRAY.items())
TROUBLES = {
    "Docker is down": Trouble(
        "systemctl stop docker.socket docker", "conductor service status",
        "cannot reach Docker", "systemctl start docker", "systemctl start docker",
    ),
    "nginx's configuration has an error": Trouble(
        "echo 'nonsense;' >/etc/nginx/conf.d/broken.conf", f"{UPGRADE} --id shop",
        r'unknown directive "nonsense" in /etc/nginx/conf.d/broken.conf:1', "fix the file that nginx names",
        "rm /etc/nginx/conf.d/broken.conf",
    ),
    "another program uses the port": trouble(
        ("systemd-run --collect --quiet --unit other python3 -m http.server 8097; "
         "until ss -ltn | grep -q :8097; do sleep 0.05; done; " + edit(DEFINITIONS, "s/8099/8097/")[0],
         edit(DEFINITIONS, "")[1] + "; systemctl stop other"),
        f"{UPGRADE} --id late", r"bind\(\) to 0.0.0.0:8097 failed", "a port that another program is using",
    ),
    "the disk is nearly full": Trouble(
        f"fallocate --length 2100M {STATE}/filler", DOCTOR,
        f"MiB free on the disk that holds {STATE}", "du -xh / that used by files",
        f"rm {STATE}/filler",
    ),
    "the registry login has expired": Trouble(
        f"mkdir -p /root/.docker; echo '{OLD_LOGIN}' >/root/.docker/config.json; "
        "systemd-run --collect --quiet --unit registry docker-registry serve /srv/registry/config.yml; "
        "until ss -ltn | grep -q :5000; do sleep 0.05; done",
        f"{UPGRADE} --id private", "unauthorized: authentication required", f"docker login {REGISTRY}",
        "systemctl stop registry; rm -r /root/.docker",
    ),
    "replicas answer 500": Trouble(
        "echo 500 >/srv/sick/all", DOCTOR, "shop-r1-.*status 500 .*the database is on holiday", "conductor service status --id shop",
        "rm /srv/sick/all",
    ),
    "replicas hang": Trouble(
        "echo hang >/srv/sick/all", DOCTOR, "shop-r1-.*no response within 2s", "conductor service status --id shop",
        "rm /srv/sick/all",
    ),
    "a replica needs more memory than its limit": Trouble(
        "conductor service upgrade --id hog --revision r1", DOCTOR,
        r"hog-r1-\S+ was killed: out of memory \(exit code 137\)", "conductor service logs --id hog",
        "conductor service stop --id hog",
    ),
    "the definitions are invalid": trouble(
        edit(DEFINITIONS, 's/"count": 2/"count": "two"/'), f"{UPGRADE} --id shop",
        r"services.yml:\d+: services.shop.count", "must be",
    ),
    "a secret cannot be read": Trouble(
        f"mv {SECRET} /root/before", f"{UPGRADE} --id shop", f"{SECRET}: .*cannot be read: No such file", SECRET,
        f"mv /root/before {SECRET}",
    ),
    "an upgrade was killed": Trouble(
        INTERRUPT, STATUS, "the upgrade to r2, which started at .*, was interrupted", "next command on this service",
        "conductor service restart --id shop; conductor supervise resume --id shop",
    ),
    "a service was paused and forgotten": Trouble(
        "conductor supervise pause --id shop --reason debugging; "
        f"sed -i 's/\"since\": \"20[0-9-]*T/\"since\": \"2020-01-01T/' {STATE}/services/shop.json",
        DOCTOR, "paused by .* 2020-01-01T.*debugging", "conductor supervise resume --id shop",
        "conductor supervise resume --id shop",
    ),
    "the definition changed after the last deploy": trouble(
        edit(DEFINITIONS, 's/"BOOT": "0.2"/"BOOT": "0.3"/'), STATUS,
        "definition changed", "restart",
    ),
    "there is a container of another release": Trouble(
        f"conductor supervise pause --id shop --reason debugging; docker run --detach {LABELS} --name by-hand {APP}:r1 sleep 600",
        STATUS, "containers that do not belong to the live release: by-hand", "by-hand",
        "docker rm --force by-hand; conductor supervise resume --id shop",
    ),
    "the cron daemon is gone": Trouble(
        "systemctl stop cron", DOCTOR, "cron", "systemctl enable --now cron", "systemctl start cron",
    ),
    "a cron job keeps failing": Trouble(
        f"for run in 1 2 3; do {JOB_AS_CRON}; done; true", DOCTOR,
        "failed 3 times in a row", "conductor cron list --id jobs", f"touch /srv/jobs/ok; {JOB_AS_CRON}",
    ),
    "the clocks differ": Trouble(
        "true", "faketime -f +1h conductor doctor", "clock", "timedatectl set-ntp true", "true",
    ),
    "what nginx needs at boot is missing": trouble(
        (f"mv {TMPFILES} /root/before", f"mv /root/before {TMPFILES}"), DOCTOR, TMPFILES, "conductor nginx install",
    ),
    "the image of a kept release is gone": Trouble(
        f"docker rmi --force {APP}:r2 >/dev/null", DOCTOR, f"the image {APP}:r2 of a retained release is missing",
        f"docker pull .*{APP}", "docker load --quiet --input /srv/r2.tar",
    ),
    "supervise is dead": Trouble(
        "systemctl stop conductor-supervise", STATUS, "supervise is not running", "systemctl start conductor-supervise",
        "systemctl start conductor-supervise",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def module_site(images: None, release: Release) -> Iterator[Site]:
    """r2 is kept and r1 is live. The state directory is on a small disk."""
    with Machine("troubled", release=release, options=("--tmpfs", f"{STATE}:size=2200m,mode=700")) as machine:
        load_app(machine)
        machine.copy(ROOT / "tests/support/sick_app.py", "/srv/sick")
        machine.copy(Path("/usr/bin/docker-registry"), "/usr/local/bin")
        machine.put("/srv/registry/config.yml", REGISTRY_CONFIG)
        machine.put(
            "/srv/registry/htpasswd",
            subprocess.run(
                ["htpasswd", "-Bbn", "-C", "4", "deploy", "new"], check=True, capture_output=True, text=True
            ).stdout,
        )
        machine.run("docker", "save", "--output", "/srv/r2.tar", f"{APP}:r2")
        converge(machine, ALL)
        site = Site(machine, PORTS)
        for revision in ("r2", "r1"):
            site.upgrade(revision, "shop", "api", "jobs")
        yield site


@pytest.mark.parametrize("one", TROUBLES.values(), ids=TROUBLES)
def test_the_first_screen_names_cause_and_cure(site: Site, one: Trouble) -> None:
    machine = site.machine
    machine.run("sh", "-c", one.make)
    try:
        machine.wait_for(
            lambda: re.search(one.cause, screen(machine, one.show)) and re.search(one.cure, screen(machine, one.show)),
            lambda: f"{one.cause!r} and {one.cure!r} in:\n{screen(machine, one.show)}",
            WAIT_SECONDS,
        )
    finally:
        machine.run("sh", "-c", one.end)
    machine.wait_for(lambda: found(machine) <= NORMAL, lambda: f"no trouble: {screen(machine, DOCTOR)}", WAIT_SECONDS)


def screen(machine: Machine, command: str) -> str:
    """Return the first screen of a command's output."""
    return "\n".join(machine.run("sh", "-c", f"{command} 2>&1", check=False).stdout.splitlines()[:SCREEN_LINES])
