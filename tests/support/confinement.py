"""What the process of the status page can do on a host, tried from inside of its unit by a program that takes its place."""

import json
from typing import Any

from tests.support.machine import Machine

UNIT = "conductor-web"
DROP_IN = f"/run/systemd/system/{UNIT}.service.d/probe.conf"
PROBE_PATH = "/usr/local/bin/probe-status-page"
# Each attempt is a name and a call; the result is None if it succeeded, otherwise the error. Written for the host's own Python.
PROBE = """\
import glob, json, os, socket, sys
def attempt(call):
    try: call()
    except OSError as error: return type(error).__name__
    return None
def connect(path): socket.socket(socket.AF_UNIX).connect(path)
def write(directory):
    path = os.path.join(directory, "probe"); open(path, "w").close(); os.unlink(path)
directories = ["/", *(d for d in glob.glob("/*") + glob.glob("/*/*") + glob.glob("/*/*/*") if os.path.isdir(d) and not d.startswith("/proc/"))]
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
result = {
    "uids": list(os.getresuid()), "groups": os.getgroups(), "capabilities": [status[n].strip() for n in ("CapEff", "CapPrm", "CapBnd")],
    "connects": {p: attempt(lambda p=p: connect(p)) for p in ("/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket")},
    "sockets": {str(f): attempt(lambda f=f: socket.socket(f)) for f in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK)},
    "reads": {p: attempt(lambda p=p: os.scandir(p) if os.path.isdir(p) else open(p).close()) for p in sys.argv[1:]},
    "writes": [d for d in directories if attempt(lambda d=d: write(d)) is None],
    "published": attempt(lambda: open("/run/conductor/public/snapshot/host.json").close()),
    "processes": [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()],
    "fork_root": attempt(lambda: os.setuid(0)), "mount": attempt(lambda: os.chroot("/tmp")),
}
print("probed: " + json.dumps(result), flush=True)
"""


def tried_from_inside(machine: Machine, *secret_paths: str) -> dict[str, Any]:
    """Return what the probe could do in the place of `conductor web`, with the unit otherwise as it is."""
    machine.put(PROBE_PATH, PROBE)
    machine.put(DROP_IN, f"[Service]\nExecStart=\nExecStart=/usr/bin/python3 {PROBE_PATH} {' '.join(secret_paths)}\n")
    machine.run("systemctl", "daemon-reload")
    try:
        machine.run("systemctl", "restart", f"{UNIT}.service")
        journal = ("journalctl", "--unit", UNIT, "--output", "cat", "--no-pager")
        machine.wait_for(lambda: "probed: " in machine.run(*journal).stdout, lambda: machine.run(*journal).stdout)
        found: dict[str, Any] = json.loads(machine.run(*journal).stdout.rpartition("probed: ")[2].splitlines()[0])
        return found
    finally:
        machine.run("rm", DROP_IN, PROBE_PATH)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", f"{UNIT}.service")
