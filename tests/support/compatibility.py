"""The manual's page of what was tested with what, made of a file that the tests of whole hosts write.

With CONDUCTOR_RECORD=1, a run of tests/host writes the versions of its hosts and the number of tests that passed on each,
and makes the page of it. A host is named by its release and, when that is not Docker, its runtime.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

from tests.support.commands import ROOT
from tests.support.host_image import PODMAN, Release, ensure_host_image

FILE = ROOT / "tests" / "compatibility.json"
PAGE = ROOT / "conductor" / "manual" / "compatibility.md"
HEAD = """\
# Compatibility

Tested versions of Debian, {runtimes} and nginx.

The tests in `tests/host` boot whole hosts with systemd. This command runs them and
writes this page:

```
CONDUCTOR_RECORD=1 tests/run all tests/host
```

## Versions

"""
TESTS = """
## Tests

The number of tests that passed on each host. A number is recorded only if all tests
in the file passed in one run with these versions. Otherwise, the cell is empty or the
row is missing.

"""
# Each command prints a version, perhaps among other words.
DOCKER_VERSION, PODMAN_VERSION = {"Docker Engine": "dockerd --version"}, {"Podman": "podman --version"}
COMMANDS = {
    "nginx": "nginx -v 2>&1",
    "Python": "python3 --version",
    "systemd": "systemctl --version | head -n 1",
    "cron": "dpkg-query --show cron",
    "Kernel on the test machine": "uname --kernel-release",
}
CGROUPS = "cgroups on the test machine"
OF_MACHINE = {"Kernel on the test machine", CGROUPS}
ROWS = (*DOCKER_VERSION, *PODMAN_VERSION, *COMMANDS, CGROUPS)
CGROUPS_COMMAND = "stat --file-system --format %T /sys/fs/cgroup"


class Host(NamedTuple):
    """The versions by component, and the number of passed tests by file."""

    versions: Mapping[str, str]
    tests: Mapping[str, int]


def versions(release: Release) -> dict[str, str]:
    """Return the versions in the image of a release's hosts."""
    commands = (PODMAN_VERSION if release == PODMAN else DOCKER_VERSION) | COMMANDS
    script = "\n".join([*commands.values(), CGROUPS_COMMAND])
    words = ["docker", "run", "--rm", "--network", "none", ensure_host_image(release), "sh", "-e", "-c", script]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    found = {name: version(line) for name, line in zip(commands, lines, strict=False)}
    return {**found, CGROUPS: "v2" if lines[-1] == "cgroup2fs" else "v1"}


def version(line: str) -> str:
    """Return the first version in what a command printed, without what Debian added to it."""
    found = re.search(r"\d+(\.\d+)*(pl\d+)?", line)
    assert found, line
    return found[0]


def series(versions: Mapping[str, str]) -> dict[str, str]:
    """Return what does not change within a release of Debian: two numbers of a version, and nothing of this machine."""
    return {name: ".".join(one.split(".")[:2]) for name, one in versions.items() if name not in OF_MACHINE}


def read() -> dict[str, Host]:
    """Return what is recorded, by the name of the host."""
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    return {name: Host(one["versions"], one["tests"]) for name, one in found.items()}


def record(name: str, host: Host) -> None:
    """Write the results of a run and the page of all."""
    hosts = added(read(), name, host)
    FILE.write_text(json.dumps({name: one._asdict() for name, one in hosts.items()}, indent=2) + "\n")
    PAGE.write_text(page(hosts))


def added(hosts: Mapping[str, Host], name: str, host: Host) -> dict[str, Host]:
    """Return the hosts with another run. What passed with other versions is dropped."""
    before = hosts.get(name)
    kept = before.tests if before and before.versions == host.versions else {}
    tests = {**kept, **host.tests}
    return dict(sorted({**hosts, name: Host(host.versions, dict(sorted(tests.items())))}.items()))


def page(hosts: Mapping[str, Host]) -> str:
    """Return the page: two tables with a column for each host."""
    components = [name for name in ROWS if any(name in host.versions for host in hosts.values())]
    files = sorted({name for host in hosts.values() for name in host.tests})
    versions = table(
        list(hosts), {name: [host.versions.get(name, "") for host in hosts.values()] for name in components}
    )
    tests = table(
        list(hosts), {f"`{name}`": [str(host.tests.get(name, "")) for host in hosts.values()] for name in files}
    )
    runtimes = ", ".join(name.split()[0] for name in components if name in {**DOCKER_VERSION, **PODMAN_VERSION})
    return HEAD.format(runtimes=runtimes) + versions + TESTS + tests


def table(head: list[str], rows: Mapping[str, list[str]]) -> str:
    lines = [["", *head], ["---"] * (len(head) + 1), *([name, *cells] for name, cells in rows.items())]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
