"""The definitions as Kubernetes manifests: Deployments, Services and CronJobs (pure)."""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from typing import Any

from conductor.definitions.grammar import tmpfs_mount
from conductor.definitions.hardening import dropped_capabilities, security_options
from conductor.definitions.model import Health, Mount, mount_target
from conductor.definitions.scalars import ByteSize
from conductor.definitions.section import SecretRef
from conductor.export.cron_jobs import NAME, cron_jobs
from conductor.export.export import Export, Names, Notes, Source, as_yaml, heading, without_empty

FILE = "kubernetes.yml"
_GENERAL = (
    "nginx: add an Ingress or a Gateway that routes to the Services",
    "registries: add imagePullSecrets if the images need a password",
)
_MISSING = {
    "publish": "a Service has its own address",
    "canary": "a Deployment has no canary deploys",
    "nginx.server": "the server block is not exported",
    "stop.signal": "Kubernetes sends the stop signal set in the image, or SIGTERM",
    "logging": "the cluster's nodes determine how logs are kept",
    "init": "Kubernetes has no such option; add an init process to the image",
    "devices": "containers get devices from a device plugin in the cluster",
    "pids_limit": "the cluster's nodes set this limit",
    "ulimits": "the cluster's nodes set these limits",
    "networks": "a pod has one network; other pods are reached by the names of their Services",
    "before_upgrade": "run it as a Job before you apply a new image",
    "console": "run it with kubectl exec or kubectl debug",
    "cron.generate": "the CronJobs are fixed at export and do not change with the app",
    "notify": "Kubernetes sends no notifications",
    "health.status": "200 to 399 is healthy",
}
_LONGEST_NAME = 60  # of a Service: 63, less a number
_PROPAGATION = {
    "rslave": "HostToContainer",
    "slave": "HostToContainer",
    "rshared": "Bidirectional",
    "shared": "Bidirectional",
}


def export(sources: Sequence[Source]) -> Export:
    """Return one file with the manifests of these services. Secrets are references to Secrets, which the first lines create."""
    notes, names = Notes(), Names()
    commands: list[str] = []
    manifests = [one for source in sources for one in _Manifests(source, notes, names, commands).all()]
    lines = notes.lines(*_GENERAL)
    text = "---\n".join(as_yaml(one) for one in manifests)
    return Export({FILE: heading("kubernetes", lines, commands) + text}, lines)


class _Manifests:
    """The manifests of one service."""

    def __init__(self, source: Source, notes: Notes, names: Names, commands: list[str]) -> None:
        self._source, self._service = source, source.service
        self._notes, self._names, self._commands = notes, names, commands
        wanted = re.sub(r"^(?=[0-9])", "s-", source.id.replace("_", "-"))  # a Service's name starts with a letter
        self.name = names.name(source.id, wanted[:_LONGEST_NAME].rstrip("-"))

    def all(self) -> Iterator[dict[str, Any]]:
        """Yield the manifests."""
        self._notes.add_set(self._source, _MISSING)
        spec = self._pod()
        labels = {NAME: self.name}
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}
        yield {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name, "labels": labels},
            "spec": {
                "replicas": self._service.count,
                "selector": {"matchLabels": labels},
                "strategy": rolling if self._service.order == "start-first" else {"type": "Recreate"},
                **self._stable_seconds(),
                "template": {"metadata": {"labels": labels, **self._annotations()}, "spec": spec},
            },
        }
        if self._service.port:
            port = {"name": "app", "port": self._service.port, "targetPort": self._service.port}
            yield {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": self.name, "labels": labels},
                "spec": {"selector": labels, "ports": [port]},
            }
        yield from cron_jobs(self._source, self._names, labels, spec, self._notes)

    def _add(self, key: str, sentence: str) -> None:
        self._notes.add(self._source, key, sentence)

    def _stable_seconds(self) -> dict[str, Any]:
        health = self._service.health
        return {"minReadySeconds": ceil(health.stable_for)} if health and health.none else {}

    def _annotations(self) -> dict[str, Any]:
        """Return the labels of the containers: the values of Kubernetes' own labels are restricted."""
        kept = {}
        for name, value in self._service.labels.items():
            if re.fullmatch(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", name):
                kept[name] = value
            else:
                self._add(f"labels.{name}", "not a valid annotation name")
        return {"annotations": kept} if kept else {}

    def _pod(self) -> dict[str, Any]:
        one = self._service
        volumes, mounts = self._volumes()
        before_stop = ceil(one.before_stop.timeout) if one.before_stop else 0  # the grace period includes it
        return without_empty(
            containers=[self._container(mounts)],
            volumes=volumes,
            terminationGracePeriodSeconds=ceil(one.stop.grace) + before_stop,
            hostname=self._hostname(),
            hostAliases=list(self._host_aliases()),
            dnsConfig=without_empty(
                nameservers=one.dns.servers,
                searches=one.dns.search,
                options=[
                    without_empty(name=name, value=value)
                    for name, _, value in (option.partition(":") for option in one.dns.options)
                ],
            ),
            securityContext=without_empty(
                sysctls=[{"name": name, "value": value} for name, value in one.sysctls.items()], **self._user()
            ),
        )

    def _container(self, mounts: list[dict[str, Any]]) -> dict[str, Any]:
        one = self._service
        limits = without_empty(
            memory=str(int(one.memory)) if one.memory else None, cpu=f"{one.cpus:g}" if one.cpus else None
        )
        return without_empty(
            name="app",
            image=self._source.image,
            command=_escaped(one.entrypoint),
            args=_escaped(one.command),
            workingDir=one.workdir,
            env=self._environment(),
            envFrom=list(self._env_file()),
            ports=[{"name": "app", "containerPort": one.port}] if one.port else None,
            resources={"limits": limits} if limits else None,
            lifecycle={"preStop": {"exec": {"command": one.before_stop.command}}} if one.before_stop else None,
            securityContext=self._security(),
            volumeMounts=mounts,
            **self._probes(),
        )

    def _environment(self) -> list[dict[str, Any]]:
        env: list[dict[str, Any]] = []
        secrets: list[str] = []
        keys, name = Names("_"), f"{self.name}-secrets"
        for variable, value in self._service.env.items():
            if isinstance(value, SecretRef):
                key = keys.name(variable, re.sub(r"[^-._A-Za-z0-9]", "_", variable))
                secrets.append(f'--from-file={key}=<(printf %s "$(cat {shlex.quote(value.file)})")')
                env.append({"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}})
            else:
                env.append({"name": variable, "value": value.replace("$", "$$")})
        if secrets:
            self._commands.append(" ".join((f"kubectl create secret generic {name}", *secrets)))
        return env

    def _env_file(self) -> Iterator[dict[str, Any]]:
        if self._source.env_file:
            name = f"{self.name}-env"
            self._commands.append(
                f"kubectl create secret generic {name} --from-env-file={shlex.quote(self._source.env_file)}"
            )
            yield {"secretRef": {"name": name}}

    def _probes(self) -> dict[str, Any]:
        health = self._service.health
        handler = self._handler(health) if health else None
        if health is None or handler is None:
            return {}
        every = {"timeoutSeconds": ceil(health.timeout)}
        gate, running = ceil(health.gate_interval), ceil(health.interval)
        running_probe = {**handler, **every, "periodSeconds": running, "failureThreshold": health.failures}
        attempts = max(1, ceil(health.start_timeout / gate))
        return {
            "startupProbe": {**handler, **every, "periodSeconds": gate, "failureThreshold": attempts},
            "readinessProbe": {**running_probe, "successThreshold": health.successes},
            "livenessProbe": running_probe,
        }

    def _handler(self, health: Health) -> dict[str, Any] | None:
        port = health.port or self._service.port
        if health.command:
            return {"exec": {"command": health.command}}
        if health.tcp:
            return {"tcpSocket": {"port": port}}
        if health.path is None:
            return None
        headers = {"Host": health.host_header} if health.host_header else {}
        for name, value in health.headers.items():
            if isinstance(value, SecretRef):
                self._add(f"health.headers.{name}", "probe headers cannot be secrets")
            else:
                headers[name] = value
        listed = [{"name": name, "value": value} for name, value in headers.items()]
        return {"httpGet": without_empty(path=health.path, port=port, httpHeaders=listed)}

    def _security(self) -> dict[str, Any]:
        one = self._service
        found: dict[str, Any] = {}
        for option in security_options(one):
            name, _, value = option.replace(":", "=", 1).partition("=")
            if name == "no-new-privileges":
                found["allowPrivilegeEscalation"] = value == "false"
            elif name == "seccomp":
                found["seccompProfile"] = {"type": "Unconfined"}
            else:
                self._add(f"security_opt.{option}", "set it on the cluster's nodes")
        capabilities = without_empty(add=one.cap_add, drop=dropped_capabilities(one))
        return without_empty(readOnlyRootFilesystem=one.read_only, capabilities=capabilities) | found

    def _user(self) -> dict[str, int]:
        user, _, group = (self._service.user or "").partition(":")
        if not re.fullmatch("[0-9]*", user + group):
            self._add("user", "Kubernetes requires numeric IDs")
            return {}
        return {name: int(value) for name, value in (("runAsUser", user), ("runAsGroup", group)) if value}

    def _hostname(self) -> str | None:
        name = self._service.hostname
        if name is not None and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
            self._add("hostname", "only lower-case letters, digits and - are allowed")
            return None
        return name

    def _host_aliases(self) -> Iterator[dict[str, Any]]:
        for name, address in self._service.extra_hosts.items():
            if re.fullmatch(r"[0-9a-fA-F.:]+", address):
                yield {"ip": address, "hostnames": [name]}
            else:
                self._add(f"extra_hosts.{name}", "the value must be an IP address")

    def _volumes(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the volumes of the pod, and where the container mounts them."""
        volumes: list[dict[str, Any]] = []
        mounts: list[dict[str, Any]] = []
        for where, volume, options in (*map(self._volume, self._service.volumes), *self._in_memory()):
            name = f"volume-{len(volumes) + 1}"
            volumes.append({"name": name, **volume})
            mounts.append({"name": name, "mountPath": where, **options})
        return volumes, mounts

    def _volume(self, written: str | Mount) -> tuple[str, dict[str, Any], dict[str, Any]]:
        source, options = written.source if isinstance(written, Mount) else written.partition(":")[0], set[str]()
        if isinstance(written, Mount):
            propagation = written.bind.propagation if written.bind else None
            options = {"ro" if written.read_only else "rw", propagation or ""}
        elif written.count(":") == 2:
            options = set(written.rpartition(":")[2].split(","))
        mounted = without_empty(
            readOnly="ro" in options,
            mountPropagation=next((_PROPAGATION[word] for word in sorted(options) if word in _PROPAGATION), None),
        )
        if source.startswith("/"):
            self._add(f"volumes.{source}", "this is a directory on the node that runs the pod")
            return mount_target(written), {"hostPath": {"path": source}}, mounted
        claim = re.sub(r"[^a-z0-9-]", "-", source.lower()).strip("-")
        claim = self._names.name(("volume", source), claim)
        self._add(f"volumes.{source}", f"create a PersistentVolumeClaim {claim}; it starts empty")
        return mount_target(written), {"persistentVolumeClaim": {"claimName": claim}}, mounted

    def _in_memory(self) -> Iterable[tuple[str, dict[str, Any], dict[str, Any]]]:
        for written in self._service.tmpfs:
            path, options = tmpfs_mount(written)
            size = next((word[5:] for word in options.split(",") if word.startswith("size=")), "")
            if {word for word in options.split(",") if not word.startswith("size=")} - {""} or size.endswith("%"):
                self._add(f"tmpfs.{written}", "only a size in bytes is exported")
            yield path, _memory(None if size.endswith("%") or not size else ByteSize.parse(size)), {}
        if self._service.shm_size:
            yield "/dev/shm", _memory(self._service.shm_size), {}  # noqa: S108 (a path in the container)


def _memory(size: int | None) -> dict[str, Any]:
    return {"emptyDir": without_empty(medium="Memory", sizeLimit=str(int(size)) if size else None)}


def _escaped(command: Sequence[str] | None) -> list[str]:
    """Return a command in which Kubernetes replaces no `$(NAME)`."""
    return [word.replace("$", "$$") for word in command or ()]
