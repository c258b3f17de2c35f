"""The shapes of the daemon's responses, one class each: the fields that Conductor reads (Engine API, v1.41 to v1.45).

A field without a default is in every response. A response with another shape is an error of the call: a daemon is not
trusted, and a newer version may leave a field out.
"""

import ipaddress
from typing import Annotated, Any, TypeVar

import msgspec

from conductor.clock import seconds_between
from conductor.errors import ConductorError
from conductor.json_text import decode

EPOCH = "1970-01-01T00:00:00Z"
T = TypeVar("T")
Api = Annotated[str, msgspec.Meta(pattern=r"\A\d{1,9}(\.\d{1,9})*\Z")]  # a version of the API
Ip = Annotated[str, msgspec.Meta(pattern=r"\A(\d{1,3}(\.\d{1,3}){3})?\Z")]  # IPv4; empty without one
HostIp = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f:.]*\Z")]
Port = Annotated[str, msgspec.Meta(pattern=r"\A\d{0,5}\Z")]
ExitCode = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Seconds = Annotated[float, msgspec.Meta(ge=-62135596800.0, le=253402300799.0)]  # since 1970: the years 1 to 9999


class MalformedResponse(ValueError):  # noqa: N818 (names what was received)
    """The response has another shape than the API defines. The text names the field."""

    def error(self, cannot: str, product: str) -> ConductorError:
        """Return the error of the call."""
        return ConductorError(
            f"{cannot}: unexpected response from {product} ({self})",
            f"compare the version of {product} with conductor help compatibility",
        )


def read_json(data: bytes, shape: type[T]) -> T:
    """Return the value of a response in JSON. Raise `MalformedResponse`."""
    try:
        return decode(data, shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedResponse(str(error)) from error


def read(found: Any, shape: type[T]) -> T:
    """As `read_json`, for a response that another client has decoded."""
    try:
        data = msgspec.json.encode(found)
    except (UnicodeEncodeError, RecursionError) as error:
        raise MalformedResponse("it is not valid JSON") from error
    return read_json(data, shape)


def check_stamps(*stamps: str) -> None:
    """Raise `ValueError` unless each is empty or a time stamp with a zone (RFC 3339)."""
    for stamp in filter(None, stamps):
        try:
            seconds_between(EPOCH, stamp)
        except TypeError:
            raise ValueError(f"{stamp!r} has no time zone") from None


class Shape(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Fields that Conductor does not read are ignored."""


class WithId(Shape, frozen=True, kw_only=True):
    """Of what was created, or exists."""

    id: str


class Error(msgspec.Struct, frozen=True):
    """Of a response with a status from 400."""

    message: str


class Info(Shape, frozen=True, kw_only=True):
    """The daemon's settings."""

    system_time: str
    live_restore_enabled: bool = False
    docker_root_dir: str = ""

    def __post_init__(self) -> None:
        check_stamps(self.system_time)


class Version(Shape, frozen=True, kw_only=True):
    """The daemon's versions."""

    version: str = "of an unknown version"
    api_version: Api = "0.0"
    min_api_version: Api = msgspec.field(name="MinAPIVersion", default="0.0")


class ListedContainer(Shape, frozen=True, kw_only=True):
    """A row of the list of containers."""

    id: str
    names: Annotated[list[str], msgspec.Meta(min_length=1)]
    state: str
    image_id: str = msgspec.field(name="ImageID")
    labels: dict[str, str] | None = None
    created: Seconds = 0.0


class State(Shape, frozen=True, kw_only=True):
    """Of an inspected container."""

    running: bool
    exit_code: ExitCode
    oom_killed: bool = msgspec.field(name="OOMKilled")
    status: str
    pid: int = 0
    error: str = ""
    started_at: str = ""
    finished_at: str = ""

    def __post_init__(self) -> None:
        check_stamps(self.started_at, self.finished_at)


class ContainerConfig(Shape, frozen=True, kw_only=True):
    """Of an inspected container."""

    labels: dict[str, str] | None = None
    env: list[str] | None = None


class HostConfig(Shape, frozen=True, kw_only=True):
    """Of an inspected container."""

    network_mode: str = ""


class EndpointSettings(Shape, frozen=True, kw_only=True):
    """One network of an inspected container."""

    ip_address: Ip = msgspec.field(name="IPAddress")


class PortBinding(Shape, frozen=True, kw_only=True):
    """One published port of an inspected container."""

    host_ip: HostIp
    host_port: Port


class NetworkSettings(Shape, frozen=True, kw_only=True):
    """Of an inspected container."""

    networks: dict[str, EndpointSettings]
    ports: dict[str, list[PortBinding] | None] | None = None


class InspectedContainer(Shape, frozen=True, kw_only=True):
    """The response to an inspection."""

    state: State
    config: ContainerConfig
    network_settings: NetworkSettings
    host_config: HostConfig = HostConfig()
    name: str = ""
    created: str = ""
    log_path: str | None = None

    def __post_init__(self) -> None:
        check_stamps(self.created)


class ImageConfig(Shape, frozen=True, kw_only=True):
    """Of an inspected image."""

    volumes: dict[str, Any] | None = None


class NamedImage(Shape, frozen=True, kw_only=True):
    """What a listed and an inspected image have in common."""

    id: str
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None


class InspectedImage(NamedImage, frozen=True, kw_only=True):
    """The response to an inspection."""

    config: ImageConfig | None = None
    size: int = 0


class ListedImage(NamedImage, frozen=True, kw_only=True):
    """A row of the list of images."""

    size: int
    created: int
    parent_id: str


class Pool(Shape, frozen=True, kw_only=True):
    """Addresses of a network."""

    subnet: str = ""
    ip_range: str | None = msgspec.field(name="IPRange", default=None)


class Ipam(Shape, frozen=True, kw_only=True):
    """How a network gives addresses."""

    config: list[Pool] | None = None


class ListedNetwork(Shape, frozen=True, kw_only=True):
    """A row of the list of networks."""

    name: str
    labels: dict[str, str] | None = None
    ipam: Ipam = msgspec.field(name="IPAM", default=Ipam())


class Endpoint(Shape, frozen=True, kw_only=True):
    """A container of an inspected network."""

    ipv4_address: str = msgspec.field(name="IPv4Address")


class InspectedNetwork(Shape, frozen=True, kw_only=True):
    """The response to an inspection."""

    containers: dict[str, Endpoint]


class ListedVolume(Shape, frozen=True, kw_only=True):
    """A row of the list of volumes."""

    name: str
    created_at: str
    labels: dict[str, str] | None = None


class ListedVolumes(Shape, frozen=True, kw_only=True):
    """The response to a list of volumes."""

    volumes: list[ListedVolume] | None


class Command(Shape, frozen=True, kw_only=True):
    """An inspected command that runs inside a container. It has no exit code until it ends."""

    running: bool
    exit_code: ExitCode | None
    pid: int


class Actor(Shape, frozen=True, kw_only=True):
    """What an event is about."""

    id: str = msgspec.field(name="ID", default="")
    attributes: dict[str, str] = {}


class Event(Shape, frozen=True, kw_only=True):
    """One event."""

    action: str = ""
    actor: Actor = Actor()


class ExitStatus(Shape, frozen=True, kw_only=True):
    """The response to a wait for a container's exit."""

    status_code: ExitCode


class ProgressDetail(msgspec.Struct, frozen=True):
    """The bytes of one layer."""

    current: int = 0
    total: int = 0


class PullMessage(msgspec.Struct, frozen=True, rename="camel"):
    """One message of the stream of a pull."""

    id: str | None = None
    status: str | None = None
    error: str | None = None
    progress_detail: ProgressDetail | None = None


class LeaseRange(msgspec.Struct, frozen=True):
    """The addresses that Podman gives to containers without a requested one."""

    start_ip: str
    end_ip: str

    def __post_init__(self) -> None:
        if ipaddress.IPv4Address(self.start_ip) > ipaddress.IPv4Address(self.end_ip):
            raise ValueError(f"{self.start_ip} is after {self.end_ip}")


class PodmanSubnet(msgspec.Struct, frozen=True):
    """Addresses of a network, of Podman's own API."""

    subnet: str
    lease_range: LeaseRange | None = None


class PodmanNetwork(msgspec.Struct, frozen=True):
    """A network, of Podman's own API."""

    subnets: list[PodmanSubnet]
