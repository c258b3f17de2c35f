"""The definitions as Quadlet units, which Podman 5 turns into systemd services (pure)."""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from math import ceil

from conductor.definitions.hardening import dropped_capabilities, process_limit, security_options
from conductor.definitions.model import JoinedNetwork, Mount
from conductor.definitions.section import SecretRef
from conductor.export.export import Export, Names, Notes, Source, checks_inside, heading

_GENERAL = (
    "upgrades: systemd stops the old container before it starts the new one, so requests are lost",
    "nginx: Quadlet does not configure nginx; route to the published ports, or to the containers",
)
_MISSING = {
    "canary": "Quadlet has no canary deploys",
    "nginx.server": "the server block is not exported",
    "stop.wait": "systemd waits for old containers",
    "before_upgrade": "run it with podman run --rm before you upgrade",
    "before_stop": "Podman runs no command before the stop signal",
    "console": "run it with podman run --rm",
    "cron": "write a timer and a service for each job",
    "notify": "use systemd's OnFailure=",
    **checks_inside("Podman", "HealthCmd"),
}
_CONTROL = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\", '"': '\\"'}


def export(sources: Sequence[Source]) -> Export:
    """Return a file for each replica. Secrets are secrets of Podman, which the first lines of a file create."""
    notes, names = Notes(), Names()
    units: dict[str, tuple[str, list[str], list[str]]] = {}
    for source in sources:
        notes.add_set(source, _MISSING)
        if not source.service.count:
            notes.add(source, "count", "a service without replicas has no unit")
        if source.service.port and not source.service.publish:
            notes.add(source, "port", "no port is published; containers get arbitrary addresses on Podman's network")
        if not re.match(r"[^/]*[.:][^/]*/|localhost/", source.service.image):
            notes.add(source, "image", "Podman looks up a name without a registry only among the host's own images")
        if "" in (source.service.command or ()):
            notes.add(source, "command", "Podman 5.4 drops an empty word and all words after it")
        if any(isinstance(one, Mount) and ":" in one.source + one.target for one in source.service.volumes):
            notes.add(source, "volumes", "a path with a colon cannot be mounted")
        for number in range(source.service.count):
            commands: list[str] = []
            instance = f"@{number + 1}" if source.service.count > 1 else ""
            units[f"{source.id}{instance}.container"] = (
                source.id,
                list(_unit(source, number, names, commands)),
                commands,
            )
    files = {
        name: heading("quadlet", notes.lines(*_GENERAL, only=service), commands) + "\n".join(unit) + "\n"
        for name, (service, unit, commands) in units.items()
    }
    return Export(files, notes.lines(*_GENERAL))


def _unit(source: Source, number: int, names: Names, commands: list[str]) -> Iterator[str]:
    stop = source.service.stop
    yield from ("", "[Unit]", f"Description={source.id}", "", "[Container]")
    yield from (f"{key}={_unexpanded(value)}" for key, value in _container(source, number, names, commands))
    # Quadlet's own limit is systemd's, 90 s; podman needs some seconds after the grace period.
    yield from ("", "[Service]", "Restart=always", f"TimeoutStopSec={ceil(stop.grace) + 10}")
    yield from ("", "[Install]", "WantedBy=multi-user.target")


def _container(source: Source, number: int, names: Names, commands: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the keys and values, before the expansions of systemd."""
    one = source.service
    yield "Image", source.image
    if one.entrypoint:
        yield "Entrypoint", json.dumps(one.entrypoint, ensure_ascii=False)
    if one.command:
        yield "Exec", " ".join(map(_word, one.command))
    single = {
        "WorkingDir": one.workdir,
        "User": one.user,
        "EnvironmentFile": source.env_file,
        "StopSignal": one.stop.signal,
        "StopTimeout": ceil(one.stop.grace),
        "ShmSize": one.shm_size and int(one.shm_size),
        "PidsLimit": process_limit(one),
        "HostName": one.hostname,
        "LogDriver": one.logging.driver,
        "RunInit": one.init and "true",
        "ReadOnly": one.read_only and "true",
    }
    yield from ((key, str(value)) for key, value in single.items() if value is not None and value is not False)
    yield from _environment(source, names, commands)
    if one.publish:
        yield "PublishPort", f"127.0.0.1:{one.publish[0] + number}:{one.port}"
    yield from _health(source)
    yield from _networks(source)
    limits = {
        "memory": one.memory and int(one.memory),
        "cpus": one.cpus,
        **{f"security-opt={option}": True for option in security_options(one)},
    }
    yield from (
        ("PodmanArgs", _word(f"--{name}" if value is True else f"--{name}={value}"))
        for name, value in limits.items()
        if value
    )
    lists = {
        "Volume": [_volume(volume) for volume in one.volumes],
        "Tmpfs": one.tmpfs,
        "AddDevice": one.devices,
        "AddCapability": one.cap_add,
        "DropCapability": dropped_capabilities(one),
        "DNS": one.dns.servers,
        "DNSSearch": one.dns.search,
        "DNSOption": one.dns.options,
        "Ulimit": [f"{name}={limit.soft}:{limit.hard}" for name, limit in one.ulimits.items()],
        "AddHost": [f"{name}:{address}" for name, address in one.extra_hosts.items()],
        "Sysctl": [_word(f"{name}={value}") for name, value in one.sysctls.items()],
        "Label": [_word(f"{name}={value}") for name, value in one.labels.items()],
        "LogOpt": [f"{name}={value}" for name, value in one.logging.options.items()],
    }
    yield from ((key, value) for key, values in lists.items() for value in values)


def _environment(source: Source, names: Names, commands: list[str]) -> Iterator[tuple[str, str]]:
    for variable, value in source.service.env.items():
        if isinstance(value, SecretRef):
            name = names.name(value.file, re.sub(r"[^A-Za-z0-9_.-]", "_", f"{source.id}-{variable}"))
            commands.append(f'printf %s "$(cat {shlex.quote(value.file)})" | podman secret create --replace {name} -')
            yield "Secret", f"{name},type=env,target={variable}"
        else:
            yield "Environment", _word(f"{variable}={value}")


def _health(source: Source) -> Iterator[tuple[str, str]]:
    if source.check is None or source.check[0] != "command":
        return
    health = source.check[1]
    yield "HealthCmd", json.dumps(health.command, ensure_ascii=False)
    yield "HealthInterval", health.interval.text
    yield "HealthTimeout", health.timeout.text
    yield "HealthRetries", str(health.failures)
    yield "HealthStartPeriod", health.start_timeout.text
    yield "HealthOnFailure", "kill"  # systemd starts it again


def _networks(source: Source) -> Iterator[tuple[str, str]]:
    if source.service.networks:
        yield "Network", "podman"
    for one in source.service.networks:
        joined = JoinedNetwork(name=one) if isinstance(one, str) else one
        yield (
            "Network",
            ":".join((joined.name, *([",".join(f"alias={alias}" for alias in joined.aliases)] * bool(joined.aliases)))),
        )


def _volume(volume: str | Mount) -> str:
    if isinstance(volume, str):
        return volume
    options = ["ro"] * volume.read_only + ["nocopy"] * bool(volume.volume and volume.volume.nocopy)
    options += [volume.bind.propagation] if volume.bind and volume.bind.propagation else []
    return ":".join((volume.source, volume.target, *([",".join(options)] if options else [])))


def _word(text: str) -> str:
    """Return one word of a unit file, as systemd and Quadlet split it."""
    escaped = "".join(_CONTROL.get(letter, letter) for letter in text)
    return text if re.fullmatch(r"[A-Za-z0-9_./:,@+=$%-]+", text) else f'"{escaped}"'


def _unexpanded(value: str) -> str:
    """Return a value in which systemd replaces no variable and no specifier."""
    return value.replace("$", "$$").replace("%", "%%")
