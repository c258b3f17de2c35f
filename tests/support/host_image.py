"""The image of a whole Debian host: systemd as process 1, with a Docker Engine, nginx, cron, ssh and mail of its own.

Built once per machine and kept as a tar, both named after the digest of the recipe. One image serves for every part that a
host plays, the operator's too: to make a second one would take longer than its packages are worth.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator

from tests.support.images import WITHOUT, ImageError, cache_dir

NAME = "conductor-test-host"
SUITE = "bookworm"
KEPT = 2  # images: another checkout may have another recipe
PACKAGES = (
    "systemd,systemd-sysv,dbus,cron,dma,nginx-light,openssh-server,openssh-client,sudo,logrotate,procps,iproute2,curl,"
    "ca-certificates,python3,python3-venv,docker.io,iptables,faketime,capistrano,fabric,ruby,ruby-erubis"
)
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


def image() -> str:
    """The image's name and tag."""
    recipe = repr((SUITE, PACKAGES, HOOKS, WITHOUT))
    return f"{NAME}:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def ensure_host_image() -> str:
    """Make sure that the image is there; its name. Of what earlier recipes made the latest stays."""
    name = image()
    if _exists(name):
        return name
    with only_one("host-image"):
        if _exists(name):
            return name
        tar = cache_dir() / f"{name.replace(':', '-')}.tar"
        if not tar.exists():
            for old in sorted(cache_dir().glob(f"{NAME}-*.tar"), key=lambda path: path.stat().st_mtime)[: -KEPT + 1]:
                old.unlink()
            beside = tar.with_name(f".{os.getpid()}-{tar.name}")  # the suffix tells mmdebstrap what to make
            try:
                leave_out = [f"--dpkgopt=path-exclude={pattern}" for pattern in WITHOUT]
                hooks = [f"--customize-hook={hook}" for hook in HOOKS]
                made_of = ["--variant=minbase", f"--include={PACKAGES}", *leave_out, *hooks, SUITE]
                _run("mmdebstrap", "--quiet", *made_of, str(beside))
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


def _remove_earlier(name: str) -> None:
    there = subprocess.run(
        ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", NAME], capture_output=True, text=True, check=True
    )  # the newest first
    for other in [one for one in there.stdout.split() if one != name][KEPT - 1 :]:  # one that a machine runs on stays
        subprocess.run(["docker", "rmi", other], capture_output=True, check=False)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(f"cannot run {' '.join(words[:3])}: exit code {done.returncode}: {done.stderr[-2000:]}")
