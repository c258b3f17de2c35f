"""Deploys with Conductor, for people without Ruby: fab deploy --revision=$(git rev-parse HEAD)

Does what examples/capistrano does: one host after the other, the first failure ends it, the hosts after it are not
touched. The one that failed still runs what it ran; a rollback takes service after service, and which it had done is said.
A lost connection stops no upgrade that has begun.
"""

import re
import shlex

from fabric import Connection, task
from invoke import Exit, UnexpectedExit
from paramiko import RejectPolicy, SSHException

USER = "deploy"
# The services of each role, by their ids in Conductor's definitions. A host has those of all its roles.
SERVICES = {
    "app": ["shop_web", "shop_worker"],
    "cron": ["shop_cron"],
}
# The hosts are deployed to in this order.
HOSTS = {
    "web1.example.com": ["app"],
    "web2.example.com": ["app"],
    "web3.example.com": ["app", "cron"],  # jobs run on one host only
}
NO_CODE = "there was no exit code: the connection was lost, or Conductor was killed; see conductor service status there"


@task(help={"revision": "40 hexadecimal digits"})
def deploy(context, revision):
    """Upgrade the services of each host."""
    if not re.fullmatch("[0-9a-f]{40}", revision):
        raise Exit(f"cannot deploy {revision!r}: write --revision=$(git rev-parse HEAD), all 40 digits of it", 2)
    on_each_host("upgrade", list(HOSTS), "--revision", revision)


@task(help={"only": "these hosts, joined by commas, instead of all"})
def rollback(context, only=""):
    """Bring each host back to the release before the live one."""
    on_each_host("rollback", only.split(",") if only else list(HOSTS))


@task
def services(context):
    """Say which services are deployed to which host; connects to none."""
    for host in HOSTS:
        print(f"{host}: {' '.join(services_of(host))}")


def services_of(host):
    """Those of all its roles."""
    if host not in HOSTS:
        raise Exit(f"cannot deploy to {host}: it is none of {', '.join(HOSTS)}", 2)
    return list(dict.fromkeys(service for role in HOSTS[host] for service in SERVICES[role]))


def on_each_host(verb, hosts, *more):
    """The words of Conductor come to the terminal as it says them."""
    calls = {host: calls_of(verb, host, *more) for host in hosts}  # all of them can be made, or none is
    done, unchanged = [], []
    for at, host in enumerate(hosts):
        said, part = "", []
        try:
            with connection_to(host) as connection:
                for ids, call in calls[host]:
                    print(f"{host}: {call}", flush=True)
                    said += connection.run(call, in_stream=False).stderr
                    part += ids
        except (UnexpectedExit, SSHException, OSError) as error:
            back = [f"fab rollback --only={','.join(done)}"] if done and verb == "upgrade" else []
            stand = {f"done on {host}": part, "done before": done, "had it already, all or in part": unchanged,
                     "not touched": hosts[at + 1 :], "take back what was done": back}  # fmt: skip
            lines = [f"  {what}: {', '.join(names)}" for what, names in stand.items() if names]
            raise Exit("\n".join([f"{verb} stopped at {host}: {reason(error)}", *lines]), 1) from error
        (unchanged if "; nothing to do" in said else done).append(host)


def calls_of(verb, host, *more):
    """Ids and call: one for all services of an upgrade, which move together or not at all; one for each of a rollback."""
    ids = services_of(host)
    groups = [ids] if verb == "upgrade" else [[service] for service in ids]
    words = [[word for service in group for word in ("--id", service)] for group in groups]
    calls = [shlex.join(["sudo", "-n", "conductor", "service", verb, *group, *more]) for group in words]
    return list(zip(groups, calls, strict=True))


def connection_to(host):
    """A host that known_hosts does not have is refused; Fabric by itself would trust it."""
    connection = Connection(host, user=USER, connect_timeout=10)
    connection.client.load_system_host_keys()
    connection.client.set_missing_host_key_policy(RejectPolicy())
    connection.open()
    connection.transport.set_keepalive(15)  # a long step is silent
    return connection


def reason(error):
    """Why a host ended it."""
    if not isinstance(error, UnexpectedExit):
        return str(error)
    return NO_CODE if error.result.exited == -1 else "Conductor's words are above"
