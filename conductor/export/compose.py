"""The definitions as a Compose file, for Docker Compose 1.29 and later (pure)."""

import re
import shlex
from collections.abc import Sequence
from typing import Any

from conductor.definitions.hardening import dropped_capabilities, process_limit, security_options
from conductor.definitions.model import JoinedNetwork, Mount
from conductor.definitions.section import SecretRef
from conductor.export.export import Export, Names, Notes, Source, as_yaml, checks_inside, heading, without_empty

FILE = "compose.yml"
_GENERAL = (
    "upgrades: Compose stops the old containers before it starts the new ones, so requests are lost",
    "nginx: Compose does not configure nginx; route to the containers or their published ports",
)
_MISSING = {
    "canary": "Compose has no canary deploys",
    "nginx.server": "the server block is not exported",
    "stop.wait": "Compose waits for old containers",
    "before_upgrade": "run it with docker-compose run --rm before you upgrade",
    "before_stop": "supported only from Docker Compose 2.30, as pre_stop",
    "console": "run it with docker-compose run --rm",
    "cron": "Compose has no scheduler; put the jobs in a crontab, each with docker-compose run --rm",
    "notify": "Compose sends no notifications",
    "env_file": "Docker Compose 2 interprets quotes and ${...} in it differently",
    **checks_inside("Compose", "healthcheck"),
}


class _Interpolated(str):
    """A text in which Compose replaces variables."""

    __slots__ = ()


def export(sources: Sequence[Source]) -> Export:
    """Return the Compose file of these services. Each secret is a variable, whose value comes from the caller's environment."""
    notes, names = Notes(), Names("_")
    commands: list[str] = []
    services = {source.id: _service(source, notes, names, commands) for source in sources}
    mounts = [volume for source in sources for volume in source.service.volumes]
    volumes = [one.source if isinstance(one, Mount) else one.partition(":")[0] for one in mounts]
    networks = [_joined(one).name for source in sources for one in source.service.networks]
    document = without_empty(
        services=services,
        volumes={name: {"name": name} for name in volumes if not name.startswith("/")},
        networks={name: {"name": name, "external": True} for name in networks},
    )
    lines = notes.lines(*_GENERAL)
    return Export({FILE: heading("compose", lines, commands) + as_yaml(_escaped(document))}, lines)


def _service(source: Source, notes: Notes, names: Names, commands: list[str]) -> dict[str, Any]:
    notes.add_set(source, _MISSING)
    one = source.service
    return without_empty(
        image=source.image,
        command=one.command,
        entrypoint=one.entrypoint,
        working_dir=one.workdir,
        user=one.user,
        environment={
            name: value if isinstance(value, str) else _secret(source, name, value, names, commands)
            for name, value in one.env.items()
        },
        env_file=[source.env_file] if source.env_file else None,
        expose=[str(one.port)] if one.port else None,
        ports=_ports(source),
        healthcheck=_healthcheck(source),
        stop_signal=one.stop.signal,
        stop_grace_period=one.stop.grace.text,
        restart="unless-stopped",
        logging=without_empty(driver=one.logging.driver, options=one.logging.options),
        mem_limit=one.memory and int(one.memory),
        cpus=one.cpus,
        shm_size=one.shm_size and int(one.shm_size),
        init=one.init,
        read_only=one.read_only,
        volumes=[_mount(volume) for volume in one.volumes],
        tmpfs=one.tmpfs,
        devices=one.devices,
        cap_add=one.cap_add,
        cap_drop=dropped_capabilities(one),
        security_opt=security_options(one),
        sysctls=one.sysctls,
        pids_limit=process_limit(one),
        ulimits={name: {"soft": limit.soft, "hard": limit.hard} for name, limit in one.ulimits.items()},
        hostname=one.hostname,
        dns=one.dns.servers,
        dns_search=one.dns.search,
        dns_opt=one.dns.options,
        networks=_networks(source),
        extra_hosts=[f"{name}:{address}" for name, address in one.extra_hosts.items()],
        labels=one.labels,
    ) | {"scale": one.count}


def _secret(source: Source, name: str, secret: SecretRef, names: Names, commands: list[str]) -> str:
    wanted = re.sub(r"[^A-Za-z0-9]", "_", f"{source.id}_{name}").upper()
    variable = names.name(secret.file, wanted)
    commands.append(f'export {variable}="$(cat {shlex.quote(secret.file)})"')
    return _Interpolated("${" + variable + ":?see the top of this file}")


def _ports(source: Source) -> list[str] | None:
    publish, count = source.service.publish, max(1, source.service.count)
    if publish is None:
        return None
    last = f"-{publish[0] + count - 1}" if count > 1 else ""
    return [f"127.0.0.1:{publish[0]}{last}:{source.service.port}"]


def _healthcheck(source: Source) -> dict[str, Any] | None:
    if source.check is None or source.check[0] != "command":
        return None
    health = source.check[1]
    return {
        "test": ["CMD", *(health.command or ())],
        "interval": health.interval.text,
        "timeout": health.timeout.text,
        "retries": health.failures,
        "start_period": health.start_timeout.text,
    }


def _mount(volume: str | Mount) -> str | dict[str, Any]:
    if isinstance(volume, str):
        return volume
    return without_empty(
        type=volume.type,
        source=volume.source,
        target=volume.target,
        read_only=volume.read_only,
        bind=without_empty(propagation=volume.bind.propagation) if volume.bind else None,
        volume=without_empty(nocopy=volume.volume.nocopy) if volume.volume else None,
    )


def _joined(network: str | JoinedNetwork) -> JoinedNetwork:
    return JoinedNetwork(name=network) if isinstance(network, str) else network


def _networks(source: Source) -> dict[str, Any] | None:
    joined = map(_joined, source.service.networks)
    networks = {one.name: without_empty(aliases=one.aliases) for one in joined}
    return {"default": {}, **networks} if networks else None


def _escaped(value: Any) -> Any:
    """Return the document with `$$` for each `$`, which Compose would otherwise expand."""
    if isinstance(value, str):
        return str(value) if isinstance(value, _Interpolated) else value.replace("$", "$$")
    if isinstance(value, dict):
        return {name: _escaped(one) for name, one in value.items()}
    return [_escaped(one) for one in value] if isinstance(value, list | tuple) else value
