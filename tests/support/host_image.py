"""The images of whole Debian hosts: systemd as process 1, with a Docker Engine, nginx, cron, ssh and mail of its own.

Each is built once per machine and kept as a tar, both named after the digest of the recipe. One image of a release serves
for every part that a host plays, the operator's too: to make a second one would take longer than its packages are worth.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.images import WITHOUT, ImageError, cache_dir

NAME = "conductor-test-host"
KEPT = 2  # images of a release: another checkout may have another recipe
PACKAGES = (
    "systemd,systemd-sysv,dbus,cron,dma,nginx-light,libnginx-mod-http-lua,openssh-server,openssh-client,sudo,procps,iproute2,curl,"
    "ca-certificates,python3,python3-venv,docker.io,iptables,faketime,capistrano,fabric,ruby,ruby-erubis"
)


class Release(NamedTuple):
    """A release of Debian, and what its hosts have beyond `PACKAGES`. `python`: the version of its python3.

    `docker_environment`: settings of the host's dockerd, as NAME=VALUE.
    """

    name: str
    title: str
    suite: str
    python: str
    packages: tuple[str, ...] = ()
    docker_environment: tuple[str, ...] = ()


BOOKWORM = Release("bookworm", "Debian 12", "bookworm", "3.11")
TRIXIE = Release(
    "trixie",
    "Debian 13",
    "trixie",
    "3.13",
    packages=("docker-cli",),
    docker_environment=(
        "DOCKER_ALLOW_IPV6_ON_IPV4_INTERFACE=1",  # in a container, the setting that would disable IPv6 is read-only
        "DOCKER_MIN_API_VERSION=1.44",  # the minimum of Docker 29, which no release of Debian has
    ),
)
RELEASES = (BOOKWORM, TRIXIE)
# Without dockerd: `docker` is podman's own command of that name.
PODMAN = Release(
    "podman",
    "Debian 13, Podman",
    "trixie",
    "3.13",
    packages=("podman", "podman-docker", "crun", "netavark", "aardvark-dns", "nftables", "catatonit"),
)
# Debian 13 with the Docker Engine of Debian unstable, whose version changes from time to time.
NEWER_DOCKER = Release(
    "newer-docker",
    "Debian 13, Docker from unstable",
    "trixie",
    "3.13",
    packages=("docker.io/sid", "docker-cli/sid"),
    docker_environment=TRIXIE.docker_environment,
)
NEWER_DOCKER_OPTIONS = (
    '--aptopt=APT::Default-Release "trixie"',
    '--aptopt=Acquire::Check-Valid-Until "false"',  # unstable's index is valid for a week, and a mirror may be older
)
NEWER_DOCKER_SOURCES = tuple(f"deb http://deb.debian.org/debian {suite} main" for suite in ("trixie", "sid"))
# Overlay needs the volume; a container's settings of the kernel may be read-only; some kernels have no nf_tables.
PODMAN_FILES = {
    "/etc/containers/containers.conf": '[containers]\ndefault_sysctls = []\n[network]\nfirewall_driver = "iptables"\n',
    "/etc/containers/storage.conf": (
        '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/docker/podman"\n'
    ),
    "/etc/containers/nodocker": "",
    "/etc/systemd/system/podman.service.d/test-host.conf": "[Service]\nEnvironment=PODMAN_IGNORE_CGROUPSV1_WARNING=1\n",
}
PODMAN_HOOKS = (
    *(
        f"mkdir -p \"$1{path.rpartition('/')[0]}\"; printf '%s' '{text}' >\"$1{path}\""
        for path, text in PODMAN_FILES.items()
    ),
    'chroot "$1" systemctl enable podman.socket',
)
DOCKER_DROP_IN = "/etc/systemd/system/docker.service.d/test-host.conf"
# A host that is to be compared before and after does nothing of its own accord, and its journal outlives a reboot.
QUIET = "apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer dpkg-db-backup.timer fstrim.timer"
HOOKS = (
    f'chroot "$1" systemctl mask {QUIET}',
    'mkdir -p "$1/var/log/journal"',
    ': >"$1/etc/machine-id"',
    'rm -f "$1"/etc/ssh/ssh_host_*',  # each machine makes its own
    'rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*',
)
# cgroups are mounted for reading only; inner containers need them. Kernels without nf_tables have only the older iptables.
START = """
for mounted in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/self/mounts); do mount -o remount,rw,bind "$mounted"; done
mount -o remount,rw,bind /sys/fs/cgroup
if ! iptables -nL >/dev/null 2>&1; then
    update-alternatives --set iptables /usr/sbin/iptables-legacy >/dev/null
    update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy >/dev/null
fi
exec /sbin/init
"""
# The image has none; a host of an image that was baked of it has to see to its own.
MAKE_SSH_KEY = "[ -e /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key"


# Networks of Podman and of Docker 28 set these, which Docker mounts for reading only; they belong to the host's own network namespace.
WRITABLE_NETWORK = "mount --bind /proc/sys/net /proc/sys/net && mount -o remount,rw,bind /proc/sys/net"


def image(release: Release) -> str:
    """The image's name and tag."""
    recipe = repr((release, PACKAGES, HOOKS, WITHOUT, DOCKER_DROP_IN)) + repr(PODMAN_HOOKS if release == PODMAN else "")
    return f"{NAME}-{release.name}:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def ensure_host_image(release: Release = BOOKWORM) -> str:
    """Make sure that the image is there; its name. Of what earlier recipes made the latest stays."""
    name = image(release)
    if _exists(name):
        return name
    with only_one(f"host-image-{release.name}"):
        if _exists(name):
            return name
        tar = cache_dir() / f"{name.replace(':', '-')}.tar"
        if not tar.exists():
            made = cache_dir().glob(f"{NAME}-{release.name}-*.tar")
            for old in sorted(made, key=lambda path: path.stat().st_mtime)[: -KEPT + 1]:
                old.unlink()
            beside = tar.with_name(f".{os.getpid()}-{tar.name}")  # the suffix tells mmdebstrap what to make
            try:
                leave_out = [f"--dpkgopt=path-exclude={pattern}" for pattern in WITHOUT]
                own_hooks = PODMAN_HOOKS if release == PODMAN else _set_docker_environment(release)
                hooks = [f"--customize-hook={hook}" for hook in (*HOOKS, *own_hooks)]
                packages = ",".join((PACKAGES, *release.packages))
                packages = packages.replace("docker.io,", "") if release == PODMAN else packages
                made_of = ["--variant=minbase", f"--include={packages}", *leave_out, *hooks]
                sources = NEWER_DOCKER_SOURCES if release == NEWER_DOCKER else ()
                made_of += NEWER_DOCKER_OPTIONS if sources else ()
                _run("mmdebstrap", "--quiet", *made_of, release.suite, str(beside), *sources)
                beside.rename(tar)
            finally:
                beside.unlink(missing_ok=True)
        _run("docker", "import", str(tar), name)
        _remove_earlier(name)
    return name


@contextlib.contextmanager
def only_one(what: str) -> Iterator[None]:
    """Held while something is made for the cache that other runs of the tests would make as well."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _exists(name: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0


def _set_docker_environment(release: Release) -> tuple[str, ...]:
    """A hook of mmdebstrap that writes the drop-in of docker.service, if the release needs one."""
    if not release.docker_environment:
        return ()
    lines = " ".join(f"'Environment={one}'" for one in release.docker_environment)
    directory = f'"$1"{DOCKER_DROP_IN.rpartition("/")[0]}'
    return (f"""mkdir -p {directory}; printf '%s\\n' '[Service]' {lines} >"$1"{DOCKER_DROP_IN}""",)


def _remove_earlier(name: str) -> None:
    repository = name.partition(":")[0]
    there = subprocess.run(
        ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", repository],
        capture_output=True,
        text=True,
        check=True,
    )  # the newest first
    for other in [one for one in there.stdout.split() if one != name][KEPT - 1 :]:  # one that a machine runs on stays
        subprocess.run(["docker", "rmi", other], capture_output=True, check=False)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(f"cannot run {' '.join(words[:3])}: exit code {done.returncode}: {done.stderr[-2000:]}")
