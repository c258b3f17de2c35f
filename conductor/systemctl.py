"""What systemd knows about units. The only module that runs `systemctl`."""

import contextlib
import subprocess
from pathlib import Path
from typing import NamedTuple

SECONDS = 10.0  # of one call


class Unit(NamedTuple):
    """One unit: whether its file is there, whether it starts at boot, and whether it runs."""

    installed: bool
    enabled: bool
    active: bool


def unit(name: str) -> Unit | None:
    """Return a unit; None when the host does not run systemd, or systemd is not responding."""
    if not runs_systemd():
        return None
    words = ["systemctl", "show", name, "--property=LoadState,UnitFileState,ActiveState"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse(done.stdout)


def parse(shown: str) -> Unit | None:
    """Return the unit in the output of `systemctl show`; None without its states: systemd did not answer."""
    states = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if "LoadState" not in states:
        return None
    return Unit(
        installed=states.get("LoadState") == "loaded",
        enabled=states.get("UnitFileState") in {"enabled", "enabled-runtime", "linked", "static"},
        active=states.get("ActiveState") in {"active", "activating", "reloading"},
    )


def reload_units() -> None:
    """Make systemd read changed unit files, if the host runs systemd."""
    if runs_systemd():
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # the next boot reads them
            subprocess.run(["systemctl", "daemon-reload"], capture_output=True, timeout=30, check=False)


def runs_systemd() -> bool:
    """True when systemd is the init system of this host."""
    return Path("/run/systemd/system").is_dir()
