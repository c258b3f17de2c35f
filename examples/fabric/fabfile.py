"""Deploys with Conductor, for people without Ruby: fab deploy --revision=$(git rev-parse HEAD)

Does what examples/capistrano does: one host after the other, the first failure ends it, the hosts after it are not
touched, and the one that failed still runs what it ran. A lost connection stops no upgrade that has begun.
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
    """In one upgrade they move together, or not at all."""
    if host not in HOSTS:
        raise Exit(f"cannot deploy to {host}: it is none of {', '.join(HOSTS)}", 2)
    return list(dict.fromkeys(service for role in HOSTS[host] for service in SERVICES[role]))


def on_each_host(verb, hosts, *more):
    """The words of Conductor come to the terminal as it says them."""
    calls = {host: calls_of(verb, host, *more) for host in hosts}  # all of them can be made, or none is
    done = []
    for host in hosts:
        try:
            with connection_to(host) as connection:
                for call in calls[host]:
                    print(f"{host}: {call}", flush=True)
                    connection.run(call, in_stream=False)
        except (UnexpectedExit, SSHException, OSError) as error:
            said = "Conductor's words are above" if isinstance(error, UnexpectedExit) else str(error)
            raise Exit(where_it_stands(verb, hosts, done, said), 1) from error
        done.append(host)


def calls_of(verb, host, *more):
    """One call for all services of an upgrade, one for each of a rollback, which takes one service."""
    ids = services_of(host)
    groups = [ids] if verb == "upgrade" else [[service] for service in ids]
    words = [[word for service in group for word in ("--id", service)] for group in groups]
    return [shlex.join(["sudo", "-n", "conductor", "service", verb, *group, *more]) for group in words]


def connection_to(host):
    """A host that known_hosts does not have is refused; Fabric by itself would trust it."""
    connection = Connection(host, user=USER, connect_timeout=10)
    connection.client.load_system_host_keys()
    connection.client.set_missing_host_key_policy(RejectPolicy())
    return connection


def where_it_stands(verb, hosts, done, said):
    """What an operator has to know before the next step."""
    failed, *untouched = hosts[len(done) :]
    lines = [f"{verb} stopped at {failed}: {said}"]
    lines += [f"  done before: {', '.join(done)}"] if done else []
    lines += [f"  not touched: {', '.join(untouched)}"] if untouched else []
    lines += [f"  take back what was done: fab rollback --only={','.join(done)}"] if done and verb != "rollback" else []
    return "\n".join(lines)
