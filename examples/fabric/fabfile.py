"""Deploys with Conductor, without Ruby: fab deploy --revision=$(git rev-parse HEAD)

Runs conductor on one host after another and stops at the first failure. The remaining hosts are left alone, and the
failed host keeps serving its current release. A lost connection does not stop an upgrade that has already started.
"""

import json
import re
import shlex

from fabric import Connection, task
from invoke import Exit
from paramiko import RejectPolicy, SSHException

USER = "deploy"
# The services of each role, by their ids in Conductor's definitions. A host runs the services of all its roles.
SERVICES = {
    "app": ["shop_web", "shop_worker"],
    "cron": ["shop_cron"],
}
# Hosts are deployed in this order.
HOSTS = {
    "web1.example.com": ["app"],
    "web2.example.com": ["app"],
    "web3.example.com": ["app", "cron"],  # cron jobs run on one host only
}
NO_RESULT = "no result: connection lost, or command denied or killed; run conductor service status on the host"


class ConductorError(Exception):
    """A command failed or reported no result."""


@task(help={"revision": "40 hexadecimal digits"})
def deploy(context, revision):
    """Upgrade the services of each host."""
    if not re.fullmatch("[0-9a-f]{40}", revision):
        raise Exit(f"cannot deploy revision {revision!r}: use --revision=$(git rev-parse HEAD), with all 40 digits", 2)
    on_each_host("upgrade", list(HOSTS), "--revision", revision)


@task(help={"only": "hosts to roll back, separated by commas; all by default"})
def rollback(context, only=""):
    """Roll back each host to the previous release."""
    on_each_host("rollback", only.split(",") if only else list(HOSTS))


@task
def services(context):
    """List the services of each host without connecting to it."""
    for host in HOSTS:
        print(f"{host}: {' '.join(services_of(host))}")


def services_of(host):
    """The services of all roles of a host."""
    if host not in HOSTS:
        raise Exit(f"cannot find host {host}: expected one of {', '.join(HOSTS)}", 2)
    return list(dict.fromkeys(service for role in HOSTS[host] for service in SERVICES[role]))


def on_each_host(action, hosts, *options):
    commands = {host: commands_for(action, host, *options) for host in hosts}
    results = {}  # host: what its commands reported about each service
    for host in hosts:
        results[host] = []
        try:
            with connect(host) as connection:
                for command in commands[host]:
                    result = run(connection, command)
                    results[host] += result["services"]
                    if result["exit_code"] != 0:
                        raise ConductorError(result.get("error", f"exit code {result['exit_code']}"))
        except (ConductorError, SSHException, OSError) as error:
            raise Exit(failure(action, hosts, results, error), 1) from error


def commands_for(action, host, *options):
    """One upgrade changes all services of a host together. A rollback takes one service at a time."""
    ids = services_of(host)
    groups = [ids] if action == "upgrade" else [[service] for service in ids]
    words = [[word for service in group for word in ("--id", service)] for group in groups]
    return [shlex.join(["sudo", "-n", "conductor", "service", action, *group, *options, "--json"]) for group in words]


def connect(host):
    """Connect to a host in known_hosts. Fabric by itself would also accept an unknown one."""
    connection = Connection(host, user=USER, connect_timeout=10)
    connection.client.load_system_host_keys()
    connection.client.set_missing_host_key_policy(RejectPolicy())
    connection.open()
    connection.transport.set_keepalive(15)  # a long step prints nothing
    return connection


def run(connection, command):
    """Run a command with its progress (stderr) on the terminal; return its last event, "finished" or "failed"."""
    print(f"{connection.host}: {command}", flush=True)
    lines = connection.run(command, hide="stdout", in_stream=False, warn=True).stdout.splitlines()
    try:
        event = json.loads(lines[-1]) if lines else {}
    except ValueError as error:
        raise ConductorError(NO_RESULT) from error
    if event.get("event") not in {"finished", "failed"}:
        raise ConductorError(NO_RESULT)
    return event


def failure(action, hosts, results, reason):
    """A host with an unchanged service is not offered for rollback: that service would go back one release too far."""
    *completed, failed = results
    changed = [host for host in completed if all(service["changed"] for service in results[host])]
    report = {
        f"services changed on {failed}": [one["service"] for one in results[failed] if one["changed"]],
        "hosts changed": changed,
        "hosts unchanged, fully or partly": [host for host in completed if host not in changed],
        "hosts not reached": [host for host in hosts if host not in results],
    }
    if action == "upgrade" and changed:
        report["to roll back the changed hosts"] = [f"fab rollback --only={','.join(changed)}"]
    lines = [f"  {key}: {', '.join(values)}" for key, values in report.items() if values]
    return "\n".join([f"{action} stopped at {failed}: {reason}", *lines])
