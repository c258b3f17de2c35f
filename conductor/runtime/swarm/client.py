"""The runtime of a fleet, on one of its managers: long, because it has every method of the port.

A replica is a service of Swarm's with one task, on whichever node Swarm chose; its id is the id of the service. Tasks, hooks
and images are those of this host, as on a single host.
"""

import contextlib
import functools
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import msgspec

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.definitions.host import Network
from conductor.errors import ConductorError
from conductor.plan import labels
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.garbage import LocalImage
from conductor.plan.listening import Listener
from conductor.plan.log import LogLine
from conductor.plan.replica import KILLED, CheckResult, Containers, ContainerState, ContainerUsage
from conductor.runtime.docker.client import DockerRuntime
from conductor.runtime.docker.credentials import credentials
from conductor.runtime.docker.sdk import messages
from conductor.runtime.docker.shapes import Event
from conductor.runtime.swarm import responses
from conductor.runtime.swarm.api import SwarmApi
from conductor.runtime.swarm.create_request import IMAGE, PINNED, create_request, refuse_volumes, service_name
from conductor.runtime.swarm.pins import Pins
from conductor.runtime.swarm.responses import ENDED, STARTED, Service
from conductor.runtime.swarm.task_logs import TaskLogs

POLL_SECONDS = 0.1
PLACED_SECONDS = 5.0  # for a node: the port of a removed replica may be in use for a moment
START_SECONDS = 600.0  # a node may have to pull the image
STOP_SECONDS = 60.0  # beyond the grace
CONTAINER_ID: Final = 64  # characters; the id of a service has 25


class SwarmRuntime(DockerRuntime):
    """Implements `Runtime`, but `events` are those of this host's containers: Swarm has none of tasks. Every call reads what it
    needs from Swarm, whose managers all know the same.

    `fence` raises when another process has taken over: no replica is started, stopped or removed after that. A replica that was
    created before has no task, and the process that has taken over removes it.

    `gone` are nodes that are down, and of which an operator says that nothing runs there any more.
    """

    def __init__(
        self,
        base_url: str,
        instance: str,
        clock: Clock,
        cancellation: Cancellation,
        fence: Callable[[], None] = lambda: None,
        *,
        gone: Collection[str] = (),
    ) -> None:
        super().__init__(base_url, instance, clock, cancellation)
        self._fence = fence
        self._gone = gone
        self._swarm = SwarmApi(self._sdk.tasks.api, clock)
        self._pins = Pins(self._swarm, instance, gone)
        self._logs = TaskLogs(self._sdk.tasks, clock, self._service)

    def containers(self, service: str | None = None) -> Containers:
        """Three lists for the replicas, one for the tasks of this host."""
        return responses.containers(self._services(service), super().containers(service).tasks)

    def writes(self) -> Iterator[None]:
        """Yield when a config may have been written on any manager, until the stream ends."""
        with self._sdk.errors("cannot follow Docker's events"):
            for _ in messages(self._sdk.api.events(decode=True, filters={"type": "config"}), Event):
                yield None
            self._sdk.renegotiate()  # the daemon has stopped

    def _services(self, service: str | None = None) -> list[Service]:
        exact = {labels.INSTANCE: self._instance, **({labels.SERVICE: service} if service else {})}
        return responses.services(self._swarm.services(exact), self._swarm.tasks(), self._swarm.nodes())

    def _service(self, replica: str) -> Service | None:
        found = self._swarm.service(replica)
        if found is None:
            return None
        tasks = self._swarm.tasks_of(found["ID"])
        if tasks is None:  # it was removed a moment ago
            return None
        [service] = responses.services([found], tasks, self._swarm.nodes())
        return service

    def local_images(self) -> tuple[LocalImage, ...]:
        """The image of a replica is in use on every node: Swarm may start it there."""
        used = {one.labels.get(IMAGE, "") for one in self._services()}
        return tuple(
            msgspec.structs.replace(one, in_use=one.in_use or one.id in used) for one in super().local_images()
        )

    def used_addresses(self, network: Network) -> frozenset[str]:
        """Besides those of tasks on the network of this host, the ports of all replicas."""
        return super().used_addresses(network) | {one.labels.get(labels.ADDRESS, "") for one in self._services()} - {""}

    def create(self, spec: ContainerSpec) -> str:
        """A replica is a service without a task until it is started. A task is a container of this host."""
        if spec.labels[labels.KIND] != "service":
            return super().create(spec)
        image = self.image(spec.image_id)
        if image is None:
            raise ConductorError(f"cannot create service {spec.name}: image {spec.image_id} is not on this host")
        refuse_volumes(image, spec)
        auth = credentials(image.digest, self._clock.monotonic, lambda: None) if image.digest else {}
        made = self._swarm.create_service(
            create_request(
                spec, image.digest or image.id, self._swarm.usable_nodes(),
                self._pins.node(spec.labels[labels.SERVICE]) if spec.pinned else "",
            ), auth,
        )  # fmt: skip
        if made is not None:
            return made
        found = self._swarm.service(service_name(spec.name))
        if found is None or (found["Spec"].get("Labels") or {}).get(labels.CHANGE) != spec.labels[labels.CHANGE]:
            raise ConductorError(f"cannot create service {spec.name}: its name is already in use")
        return str(found["ID"])

    def start(self, container: str) -> None:
        """Wait until the replica runs. One that cannot be started is not tried again."""
        if _is_container(container):
            super().start(container)
            return
        service = self._existing(container, "start")
        if service.is_wanted and service.running is not None:
            return
        name, before = service.found["Spec"]["Name"], {one["ID"] for one in service.tasks}
        self._fence()

        def start(spec: dict[str, Any]) -> None:
            spec["Mode"]["Replicated"]["Replicas"] = 1
            spec["Labels"] = {**(spec.get("Labels") or {}), STARTED: "1"}
            spec["Labels"].pop(ENDED, None)

        self._swarm.update_service(container, f"start service {name}", start)
        self._logs.forget(container)
        error = self._await_start(container, before)
        if error is None:
            return

        def give_up(spec: dict[str, Any]) -> None:
            spec["Mode"]["Replicated"]["Replicas"] = 0
            spec["Labels"] = {**(spec.get("Labels") or {}), ENDED: msgspec.json.encode(error).decode()}
            spec["Labels"].pop(STARTED, None)

        self._swarm.update_service(container, f"stop service {name}", give_up)
        raise ConductorError(f"cannot start service {name}: {error.error}")

    def _await_start(self, replica: str, before: set[str]) -> ContainerState | None:
        """Return None once a task that is not in `before` has run, or why it could not."""
        began = self._clock.monotonic()
        while True:
            service = self._existing(replica, "start")
            tasks = [one for one in service.tasks if one["ID"] not in before]
            if ended := [one for one in tasks if responses.has_ended(one)]:
                return responses.ended_state(ended[0]) if responses.failed_to_start(ended[0]) else None
            if service.running is not None and service.running in tasks:
                return None
            waited, error = self._clock.monotonic() - began, tasks[-1]["Status"].get("Err", "") if tasks else ""
            if waited >= (PLACED_SECONDS if error else START_SECONDS):
                error = error or "no node has started it"
                return ContainerState(running=False, exit_code=None, out_of_memory=False, address="", error=error)
            self._clock.sleep(POLL_SECONDS)

    def _existing(self, replica: str, verb: str) -> Service:
        service = self._service(replica)
        if service is None:
            raise ConductorError(f"cannot {verb} service {replica}: no such service")
        return service

    def inspect(self, container: str) -> ContainerState | None:
        """The address has the node that runs the replica now."""
        if _is_container(container):
            return super().inspect(container)
        service = self._service(container)
        return responses.state(service) if service else None

    def inspect_exit(self, container: str, *, wait: bool) -> ContainerState | None:
        """Only the daemon of its own node knows why a container was killed."""
        if _is_container(container):
            return super().inspect_exit(container, wait=wait)
        service = self._service(container)
        found = responses.state(service) if service else None
        if service and found and found.exit_code == KILLED and (local := self._local(service, service.ended)):
            ended = super().inspect_exit(local, wait=wait)
            found = msgspec.structs.replace(found, out_of_memory=bool(ended and ended.out_of_memory))
        return found

    def listeners(self, container: str) -> tuple[Listener, ...] | None:
        """Those of a replica on this node."""
        local = self._local_running(container)
        return super().listeners(local) if local else None

    def usage(self, container: str) -> ContainerUsage | None:
        """Of a replica on this node."""
        local = self._local_running(container)
        return super().usage(local) if local else None

    def environment(self, container: str) -> dict[str, str]:
        """The service has the variables that Conductor set; those of the image are not among them."""
        if _is_container(container):
            return super().environment(container)
        found = self._swarm.service(container)
        pairs = found["Spec"]["TaskTemplate"]["ContainerSpec"].get("Env") or () if found else ()
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def execute(self, container: str, command: tuple[str, ...], timeout_seconds: float) -> CheckResult:
        """Only in a replica on this node."""
        try:
            local, cause = self._local_running(container), f"service {container} is not running on this node"
        except ConductorError as error:
            local, cause = None, error.sentence
        if local is None:
            return CheckResult(ok=False, seconds=0.0, error=f"cannot run {command[0]}: {cause}", unknown=True)
        return super().execute(local, command, timeout_seconds)

    def _local_running(self, container: str) -> str | None:
        """Return the id of the container of a running replica, None if that is not on this node."""
        if _is_container(container):
            return container
        service = self._service(container)
        return self._local(service, service.running) if service else None

    def _local(self, service: Service, task: Any) -> str | None:
        return responses.container(task) or None if task and task.get("NodeID") == self._node else None

    @functools.cached_property
    def _node(self) -> str:
        return self._swarm.node_id()

    def read_log(
        self, container: str, *, since: str = "", tail: int | None = None, follow: bool = False
    ) -> Iterator[LogLine]:
        """The logs of all tasks that Swarm still has, and of the one that this process has stopped."""
        if _is_container(container):
            return super().read_log(container, since=since, tail=tail, follow=follow)
        lines = self._logs.read(container, self._clock.seconds(since) if since else 0, tail, follow=follow)
        found = (line for line in lines if line.time >= since)
        return found if tail is None or follow else iter(deque(found, tail))

    def signal(self, container: str, name: str) -> None:
        """Swarm sends a replica its own stop signal, and kills it after its own grace period."""
        if _is_container(container):
            super().signal(container, name)
        elif (service := self._service(container)) and service.is_wanted:
            self._fence()
            self._scale_down(service)

    def _scale_down(self, service: Service) -> None:
        def scale_down(spec: dict[str, Any]) -> None:
            spec["Mode"]["Replicated"]["Replicas"] = 0

        self._update_unless_gone(service, "stop", scale_down)

    def stop(self, container: str, grace_seconds: float) -> bool:
        """The grace period is the one that the replica was created with: it belongs to the release."""
        if _is_container(container):
            return super().stop(container, grace_seconds)
        service = self._service(container)
        if service is None or not (service.is_wanted or service.running):
            return False
        self._refuse_lost(service, "stop")
        self._fence()
        if service.is_wanted:
            self._scale_down(service)
        task = service.running or service.ended
        state = self._await_end(service, task, max(grace_seconds, service.grace) + STOP_SECONDS)
        if task is not None:
            with contextlib.suppress(ConductorError):  # the task is listed for a moment only
                self._logs.keep(container, task["ID"])

        def record(spec: dict[str, Any]) -> None:
            spec["Labels"] = {**(spec.get("Labels") or {}), ENDED: msgspec.json.encode(state).decode()}

        self._update_unless_gone(service, "record the exit of", record)
        return service.running is not None and state.exit_code == KILLED

    def _refuse_lost(self, service: Service, verb: str) -> None:
        """Of a pinned replica, another one must not start while it may still run on a node that is down."""
        if PINNED in service.labels and (nodes := set(service.lost_nodes).difference(self._gone)):
            id_, name, node = service.labels[labels.SERVICE], service.found["Spec"]["Name"], min(nodes)
            raise ConductorError(
                f"cannot {verb} service {name}: it may still be running on node {node}, which is down; "
                f"once {node} is switched off, run conductor service restart --id {id_} --node-is-gone {node}"
            )

    def _await_end(self, service: Service, task: Any, seconds: float) -> ContainerState:
        """Wait until no task of a service runs any more, and return how `task` ended. A lost one has ended for all that is known.

        Swarm also removes a task that waits to be started: one that it leaves behind never starts.
        """
        state = ContainerState(
            running=False, exit_code=None, out_of_memory=False, address="", error="stopped; its exit code is unknown"
        )
        began = self._clock.monotonic()
        while now := self._service(service.found["ID"]):
            waited = self._clock.monotonic() - began
            ended = [one for one in now.tasks if responses.has_ended(one)]
            state = next((responses.ended_state(one) for one in ended if task and one["ID"] == task["ID"]), state)
            left = [one for one in now.tasks if one not in ended and not now.is_lost(one)]
            if not left or (waited >= PLACED_SECONDS and all(map(responses.is_waiting, left))):
                break
            if waited >= seconds:
                states = ", ".join(one["Status"]["State"] for one in left)
                raise ConductorError(f"cannot stop service {now.found['Spec']['Name']}: its task is {states}")
            self._clock.sleep(POLL_SECONDS)
        return state

    def _update_unless_gone(self, service: Service, verb: str, change: Callable[[dict[str, Any]], None]) -> None:
        name, replica = service.found["Spec"]["Name"], service.found["ID"]
        try:
            self._swarm.update_service(replica, f"{verb} service {name}", change)
        except ConductorError:
            if self._swarm.service(replica) is not None:
                raise

    def remove(self, container: str) -> None:
        """Swarm stops a running replica with its grace period, and nothing waits for that."""
        if _is_container(container):
            super().remove(container)
            return
        if (service := self._service(container)) is not None:
            self._refuse_lost(service, "remove")
        self._fence()
        self._logs.forget(container)
        self._swarm.remove_service(container)


def _is_container(id_: str) -> bool:
    return len(id_) == CONTAINER_ID
