"""What Capistrano's and Fabric's examples tell an operator, over real SSH to three addresses of one container where Conductor
is a script; deploys by Conductor itself are in tests/host/test_fleet_deploys.py."""

import shlex
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.integration.test_example_files import EXAMPLES, REVISION
from tests.support.on_debian import OnDebian

WEBS = [f"web{number}.example.com" for number in (1, 2, 3)]
# The host is known by the address that it was reached at; what it does is in a file of that name.
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
DOES = "echo done >&2"
HAD_IT = f"echo 'shop_web already runs {REVISION}: 2 of 2 healthy; nothing to do' >&2"
HAD_A_PART = f"{HAD_IT}; {DOES}"
FAILS = "echo the moon is missing >&2; exit 1"
FAILS_AT_WORKER = f'case "$*" in *worker*) {FAILS} ;; *) {DOES} ;; esac'
DIES = "kill -KILL $PPID"
IS_CUT_OFF = "kill -KILL $(pgrep -u deploy sshd)"


class Tool(NamedTuple):
    """How an operator deploys with it."""

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


def said(debian: OnDebian, tool: Tool, command: str, *hosts: str) -> str:
    """What the operator is told at the end by a deploy or rollback that failed, without the tool's own lines."""
    for number, does in enumerate(hosts, 1):
        debian.run("ci", "sh", "-c", f"printf '%s\\n' {shlex.quote(does)} >/srv/host/127.0.0.{number}")
    done = debian.run(tool.directory, "sh", "-c", command)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr[done.stderr.index(" stopped at ") :]


@pytest.mark.parametrize("tool", TOOLS, ids=[tool.directory for tool in TOOLS])
def test_only_what_a_deploy_has_done_is_to_be_taken_back(debian: OnDebian, tool: Tool) -> None:
    told = said(debian, tool, tool.deploy, HAD_IT, DOES, FAILS)
    assert f"stopped at {WEBS[2]}: Conductor's words are above\n" in told
    assert f"  done before: {WEBS[1]}\n" in told
    assert f"  had it already, all or in part: {WEBS[0]}\n" in told
    assert f"  take back what was done: {tool.rollback} {tool.only}{WEBS[1]}\n" in told
    told = said(debian, tool, tool.deploy, HAD_A_PART, FAILS, DOES)
    assert f"  had it already, all or in part: {WEBS[0]}\n  not touched: {WEBS[2]}\n" in told
    assert "done" not in told


@pytest.mark.parametrize("tool", TOOLS, ids=[tool.directory for tool in TOOLS])
def test_a_rollback_says_which_services_it_had_done(debian: OnDebian, tool: Tool) -> None:
    told = said(debian, tool, tool.rollback, DOES, FAILS_AT_WORKER, DOES)
    assert f"stopped at {WEBS[1]}: Conductor's words are above\n" in told
    assert f"  done on {WEBS[1]}: shop_web\n  done before: {WEBS[0]}\n  not touched: {WEBS[2]}\n" in told
    assert "take back" not in told


@pytest.mark.parametrize("tool", TOOLS, ids=[tool.directory for tool in TOOLS])
def test_an_end_without_a_code_is_no_word_of_conductors(debian: OnDebian, tool: Tool) -> None:
    told = said(debian, tool, tool.deploy, DIES, DOES, DOES)
    assert "there was no exit code: the connection was lost, or Conductor was killed" in told
    assert f"  not touched: {WEBS[1]}, {WEBS[2]}\n" in told
    told = said(debian, tool, tool.deploy, IS_CUT_OFF, DOES, DOES)
    assert f"  not touched: {WEBS[1]}, {WEBS[2]}\n" in told
    assert "words are above" not in told
