"""The body of a create request: the whole document once, and unset fields left out."""

import msgspec
import pytest

from conductor.definitions.model import (
    BindOptions,
    Definition,
    Dns,
    JoinedNetwork,
    Logging,
    Mount,
    Service,
    Ulimit,
    VolumeOptions,
)
from conductor.definitions.scalars import ByteSize, Secret
from conductor.plan.container_spec import ContainerSpec, container_spec, is_file, required_source, unmounted
from conductor.plan.transition import new_release
from conductor.runtime.docker.create_request import connect_request, create_request

FULL = Service(
    image="shop/app", command=("bin/web",), entrypoint=("tini", "--"), workdir="/app", user="app", port=8080, memory=ByteSize(2**30),
    cpus=1.5, shm_size=ByteSize(2**20), init=True, read_only=True, volumes=("/srv/up:/up:ro",), tmpfs=("/tmp", "/cache:size=64m,mode=1777"), cap_add=("NET_ADMIN",),
    cap_drop=("ALL",), ulimits={"nofile": Ulimit(soft=1, hard=2)}, extra_hosts={"db": "10.0.0.9"}, labels={"team": "shop"},
    logging=Logging(driver="json-file", options={"max-size": "50m"}), hostname="shop", pids_limit=100,
    devices=("/dev/fuse", "/dev/a:r", "/dev/a:/dev/b:rw"), security_opt=("no-new-privileges",),
    sysctls={"net.core.somaxconn": "1024"}, networks=("monitoring",),
    dns=Dns(servers=("10.0.0.53",), search=("shop.internal",), options=("ndots:1",)),
)  # fmt: skip


def spec(service: Service, address: str = "10.1.0.5:8080") -> ContainerSpec:
    definition = Definition(id="web", service=service, written={}, digest="d1")
    release = new_release(definition, "r1", "sha256:1", "c1")
    environment = {"A": "1", "TOKEN": Secret("hunter2")}
    return container_spec(
        definition, release, environment, instance="default", network="net", kind="service", change="c2", name="1",
        address=address,
    )  # fmt: skip


def test_a_definition_with_every_field():
    assert create_request(spec(FULL)) == {
        "Image": "sha256:1",
        "Cmd": ("bin/web",),
        "Entrypoint": ("tini", "--"),
        "Env": ["A=1", "TOKEN=hunter2"],
        "Labels": {
            "team": "shop",
            "conductor.instance": "default",
            "conductor.name": "web-r1-c2-1",
            "conductor.service": "web",
            "conductor.revision": "r1",
            "conductor.kind": "service",
            "conductor.definition": "d1",
            "conductor.release": "c1",
            "conductor.change": "c2",
            "conductor.address": "10.1.0.5:8080",
            "conductor.job": "",
            "conductor.deadline": "",
        },
        "User": "app",
        "WorkingDir": "/app",
        "StopSignal": "SIGTERM",
        "Hostname": "shop",
        "HostConfig": {
            "NetworkMode": "net",
            "RestartPolicy": {"Name": "no"},
            "Binds": ("/srv/up:/up:ro",),
            "Tmpfs": {"/tmp": "", "/cache": "size=64m,mode=1777"},
            "Memory": 2**30,
            "NanoCpus": 1500000000,
            "ShmSize": 2**20,
            "Init": True,
            "ReadonlyRootfs": True,
            "CapAdd": ("NET_ADMIN",),
            "CapDrop": ("ALL",),
            "Devices": [
                {"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"},
                {"PathOnHost": "/dev/a", "PathInContainer": "/dev/a", "CgroupPermissions": "r"},
                {"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "rw"},
            ],
            "SecurityOpt": ("no-new-privileges",),
            "Sysctls": {"net.core.somaxconn": "1024"},
            "PidsLimit": 100,
            "Dns": ("10.0.0.53",),
            "DnsSearch": ("shop.internal",),
            "DnsOptions": ("ndots:1",),
            "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
            "ExtraHosts": ["db:10.0.0.9"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "50m"}},
        },
        "NetworkingConfig": {"EndpointsConfig": {"net": {"IPAMConfig": {"IPv4Address": "10.1.0.5"}}}},
    }


def test_published_ports_are_bound_to_loopback_and_the_daemon_chooses_the_ip():
    service = msgspec.structs.replace(FULL, publish=(21000, 21005))
    document = create_request(spec(service, "127.0.0.1:21003"))
    assert document["ExposedPorts"] == {"8080/tcp": {}}
    assert document["HostConfig"]["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "21003"}]}
    assert document["NetworkingConfig"] == {"EndpointsConfig": {"net": {"IPAMConfig": None}}}


def test_unset_fields_are_left_out():
    open_to_all = {"cap_add": ("ALL",), "security_opt": ("no-new-privileges:false",), "pids_limit": -1}
    document = create_request(spec(Service(image="app", port=80, **open_to_all)))
    assert {"Cmd", "Entrypoint", "User", "WorkingDir", "ExposedPorts"}.isdisjoint(document)
    assert set(document["HostConfig"]) == {"NetworkMode", "RestartPolicy", "LogConfig", "CapAdd", "SecurityOpt"}


def test_what_a_container_may_not_do_by_default():
    host = create_request(spec(Service(image="app")))["HostConfig"]
    assert host["SecurityOpt"] == ("no-new-privileges",)
    assert host["CapDrop"] == ("AUDIT_WRITE", "MKNOD", "NET_RAW")
    assert host["PidsLimit"] == 4096


def test_a_missing_file_is_never_created_as_a_directory() -> None:
    """Docker creates the missing source of a bind as a directory, and refuses the missing source of a mount."""
    volumes = ("/srv/app/settings.yml:/etc/app.yml:ro", "/run/app.sock:/app.sock", "/srv/data:/data", "named.v1:/named")
    host = create_request(spec(Service(image="app", volumes=volumes)))["HostConfig"]
    assert host["Binds"] == ("/srv/data:/data", "named.v1:/named")
    assert host["Mounts"] == [
        {"Type": "bind", "Source": "/srv/app/settings.yml", "Target": "/etc/app.yml", "ReadOnly": True},
        {"Type": "bind", "Source": "/run/app.sock", "Target": "/app.sock", "ReadOnly": False},
    ]


def test_options_of_volumes() -> None:
    volumes = (
        "/srv/media:/media:ro,rslave",
        "cache:/cache:nocopy",
        "/srv/media/list.m3u:/list:rslave",
        Mount(type="bind", source="/mnt/media", target="/mnt", bind=BindOptions(propagation="rshared")),
        Mount(type="volume", source="data", target="/data", read_only=True, volume=VolumeOptions(nocopy=True)),
        Mount(type="bind", source="/etc/machine-id", target="/etc/machine-id"),
    )
    host = create_request(spec(Service(image="app", volumes=volumes)))["HostConfig"]
    assert host["Binds"] == ("/srv/media:/media:ro,rslave", "cache:/cache:nocopy")
    long_form = [(one.pop("Type"), one.pop("Source"), one.pop("Target"), one) for one in host["Mounts"]]
    assert long_form == [
        ("bind", "/srv/media/list.m3u", "/list", {"ReadOnly": False, "BindOptions": {"Propagation": "rslave"}}),
        ("bind", "/mnt/media", "/mnt", {"ReadOnly": False, "BindOptions": {"Propagation": "rshared"}}),
        ("volume", "data", "/data", {"ReadOnly": True, "VolumeOptions": {"NoCopy": True}}),
        ("bind", "/etc/machine-id", "/etc/machine-id", {"ReadOnly": False}),
    ]


def test_which_sources_must_exist() -> None:
    """Docker creates the missing source of a short form, unless Conductor recognises it as a file."""
    written = (
        "/srv/data:/a",
        "/srv/a.yml:/b:ro",
        "name:/c",
        Mount(type="bind", source="/srv/data", target="/d"),
        Mount(type="volume", source="name", target="/e"),
    )
    assert [required_source(one) for one in written] == [None, "/srv/a.yml", None, "/srv/data", None]


def test_additional_networks_are_not_in_the_request_that_creates_a_container() -> None:
    """Docker 20.10 refuses more than one network there."""
    made = spec(Service(image="app", networks=("monitoring", JoinedNetwork(name="db", aliases=("shop",)))))
    assert list(create_request(made)["NetworkingConfig"]["EndpointsConfig"]) == ["net"]
    assert [connect_request(one, "c1") for one in made.joined] == [
        {"Container": "c1", "EndpointConfig": {}},
        {"Container": "c1", "EndpointConfig": {"Aliases": ("shop",)}},
    ]


def test_aliases_on_conductors_own_network() -> None:
    made = spec(Service(image="app", port=80, networks=(JoinedNetwork(name="net", aliases=("shop",)), "monitoring")))
    assert [one.name for one in made.joined] == ["monitoring"]
    [endpoint] = create_request(made)["NetworkingConfig"]["EndpointsConfig"].values()
    assert endpoint == {"IPAMConfig": {"IPv4Address": "10.1.0.5"}, "Aliases": ("shop",)}


def test_the_data_of_an_image_volume_outlives_the_container() -> None:
    """`docker rm -v` removes volumes without a name."""
    [mount] = create_request(spec(Service(image="app")), ("/data",))["HostConfig"]["Mounts"]
    assert (mount["Type"], mount["Source"], mount["Target"]) == ("volume", "web-r1-c2-1-volume-1", "/data")
    assert mount["VolumeOptions"]["Labels"] == {
        "conductor.instance": "default", "conductor.service": "web", "conductor.revision": "r1",
    }  # fmt: skip


def test_which_image_volumes_have_nothing_mounted() -> None:
    paths = ("/a", "/b", "/c/", "/d")
    mount = Mount(type="volume", source="named", target="/c")
    assert unmounted(paths, ("/srv/a:/a/:ro", mount), ("/d:size=1m",)) == ("/b",)


@pytest.mark.parametrize(
    ("volume", "file"),
    [
        ("/srv/settings.yml:/x", True), ("/run/app.sock:/x:ro", True), ("/srv/.ssh/id.pub:/x", True),
        ("/srv/data:/x.d", False), ("/srv/.ssh:/x", False), ("/srv/app.d/data:/x", False), ("name.v1:/x", False),
        ("/:/x", False),
    ],
)  # fmt: skip
def test_which_sources_are_files_by_their_name(volume: str, file: bool) -> None:
    assert is_file(volume) is file
