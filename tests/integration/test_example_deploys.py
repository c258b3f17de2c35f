"""The reports of the Capistrano and Fabric examples, over real SSH to three addresses of one container with a fake conductor.

Deploys with the real conductor are in tests/host/test_fleet_deploys.py."""

import json
import shlex
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.integration.test_example_files import EXAMPLES, REVISION
from tests.support.on_debian import OnDebian

WEBS = [f"web{number}.example.com" for number in (1, 2, 3)]
# One container serves all hosts: the fake conductor runs the script named after the address that was connected to.
PREPARE = """
set -e
mkdir -p /run/sshd /srv/host ~/.ssh
printf '127.0.0.%s web%s.example.com\\n' 1 1 2 2 3 3 >>/etc/hosts
useradd --create-home --shell /bin/bash deploy
printf 'Defaults env_keep += SSH_CONNECTION\\ndeploy ALL=(root) NOPASSWD: ALL\\n' >/etc/sudoers.d/deploy
printf '#!/bin/sh\\n. /srv/host/$(echo $SSH_CONNECTION | cut -d " " -f 3)\\n' >/usr/local/bin/conductor
chmod 755 /usr/local/bin/conductor
ssh-keygen -A >/dev/null
ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519
install -D -o deploy -m 600 ~/.ssh/id_ed25519.pub ~deploy/.ssh/authorized_keys
chown deploy ~deploy/.ssh
key=$(cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub)
printf "web%s.example.com,127.0.0.%s $key\\n" 1 1 2 2 3 3 >~/.ssh/known_hosts
/usr/sbin/sshd
"""


def event(name: str, changed: dict[str, bool], **fields: object) -> str:
    """The last line that `service upgrade --json` and `service rollback --json` print on standard output."""
    services = [
        {"service": service, "action": "upgrade", "changed": change, "from": "OLD", "to": REVISION}
        for service, change in changed.items()
    ]
    document = {"event": name, "time": "2026-11-29T02:00:00.000Z", "change": "1f2e3d4c", "services": services, **fields}
    return f"echo {shlex.quote(json.dumps(document))}"


def finishes(**changed: bool) -> str:
    step = """echo '{"event": "step", "step": "gate"}'; echo gate done in 0.41s >&2"""
    return f"{step}; {event('finished', changed, exit_code=0, warnings=0, seconds=1.4)}"


def fails(**changed: bool) -> str:
    error = "cannot upgrade shop_web: the moon is missing"
    return f"{event('failed', changed, exit_code=1, error=error, details=[], hint='')}; exit 1"


BOTH = {"shop_web": True, "shop_worker": True}
CHANGES = finishes(**BOTH)
CHANGES_NOTHING = finishes(shop_web=False, shop_worker=False)
CHANGES_ONE = finishes(shop_web=False, shop_worker=True)
FAILS = fails(shop_web=False, shop_worker=False)
NEEDS_OPERATOR = f"{event('finished', BOTH, exit_code=4, warnings=1, seconds=1.4)}; exit 4"
ROLLS_BACK_WEB_ONLY = f'case "$*" in *worker*) {fails(shop_worker=False)} ;; *) {finishes(shop_web=True)} ;; esac'
IS_KILLED = 'echo \'{"event": "step"}\'; kill -KILL $PPID'
LOSES_CONNECTION = "kill -KILL $(pgrep -u deploy sshd)"
NO_RESULT = "no result: connection lost, or command denied or killed; run conductor service status on the host"


class Tool(NamedTuple):
    """The commands of one tool."""

    directory: str
    deploy: str
    rollback: str
    only: str


TOOLS = [
    Tool("capistrano", f"cap production deploy REVISION={REVISION}", "cap production rollback", "HOSTS="),
    Tool("fabric", f"fab deploy --revision={REVISION}", "fab rollback", "--only="),
]


@pytest.fixture(scope="module")
def debian() -> Iterator[OnDebian]:
    with OnDebian(EXAMPLES) as made:
        prepared = made.run("ci", "bash", "-c", PREPARE)
        assert prepared.returncode == 0, prepared.stderr
        yield made


def failure(debian: OnDebian, tool: Tool, command: str, *hosts: str) -> list[str]:
    """The report at the end of a failed deploy or rollback: its lines after "upgrade stopped at " or "rollback …"."""
    for number, script in enumerate(hosts, 1):
        debian.run("ci", "sh", "-c", f"printf '%s\\n' {shlex.quote(script)} >/srv/host/127.0.0.{number}")
    done = debian.run(tool.directory, "sh", "-c", command)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr.partition(" stopped at ")[2].splitlines()


@pytest.mark.parametrize("tool", TOOLS, ids=[tool.directory for tool in TOOLS])
def test_only_hosts_that_a_deploy_changed_are_offered_for_rollback(debian: OnDebian, tool: Tool) -> None:
    assert failure(debian, tool, tool.deploy, CHANGES_NOTHING, CHANGES, FAILS) == [
        f"{WEBS[2]}: cannot upgrade shop_web: the moon is missing",
        f"  hosts changed: {WEBS[1]}",
        f"  hosts unchanged, fully or partly: {WEBS[0]}",
        f"  to roll back the changed hosts: {tool.rollback} {tool.only}{WEBS[1]}",
    ]
    assert failure(debian, tool, tool.deploy, CHANGES_ONE, FAILS, CHANGES)[1:] == [
        f"  hosts unchanged, fully or partly: {WEBS[0]}",
        f"  hosts not reached: {WEBS[2]}",
    ]


@pytest.mark.parametrize("tool", TOOLS, ids=[tool.directory for tool in TOOLS])
def test_a_change_that_needs_an_operator_stops_the_deploy(debian: OnDebian, tool: Tool) -> None:
    assert failure(debian, tool, tool.deploy, NEEDS_OPERATOR, CHANGES, CHANGES) == [
        f"{WEBS[0]}: exit code 4",
        f"  services changed on {WEBS[0]}: shop_web, shop_worker",
        f"  hosts not reached: {WEBS[1]}, {WEBS[2]}",
    ]


@pytest.mark.parametrize("tool", TOOLS, ids=[tool.directory for tool in TOOLS])
def test_a_failed_rollback_names_the_services_it_changed(debian: OnDebian, tool: Tool) -> None:
    assert failure(debian, tool, tool.rollback, CHANGES, ROLLS_BACK_WEB_ONLY, CHANGES)[1:] == [
        f"  services changed on {WEBS[1]}: shop_web",
        f"  hosts changed: {WEBS[0]}",
        f"  hosts not reached: {WEBS[2]}",
    ]


@pytest.mark.parametrize("tool", TOOLS, ids=[tool.directory for tool in TOOLS])
def test_a_killed_command_and_a_lost_connection_stop_the_deploy(debian: OnDebian, tool: Tool) -> None:
    not_reached = f"  hosts not reached: {WEBS[1]}, {WEBS[2]}"
    assert failure(debian, tool, tool.deploy, IS_KILLED, CHANGES, CHANGES) == [f"{WEBS[0]}: {NO_RESULT}", not_reached]
    assert failure(debian, tool, tool.deploy, LOSES_CONNECTION, CHANGES, CHANGES)[1:] == [not_reached]


@pytest.mark.parametrize("tool", TOOLS, ids=[tool.directory for tool in TOOLS])
def test_progress_is_shown_and_json_is_not(debian: OnDebian, tool: Tool) -> None:
    for number in (1, 2, 3):
        debian.run("ci", "sh", "-c", f"printf '%s\\n' {shlex.quote(CHANGES)} >/srv/host/127.0.0.{number}")
    done = debian.run(tool.directory, "sh", "-c", tool.deploy)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.stdout + done.stderr
    assert (shown.count("gate done in 0.41s"), '"event"' in shown) == (3, False)
