"""Kills a command that hangs inside a container. The Engine API has no call for this, so the host's kernel is used."""

import contextlib
import os
import signal
from pathlib import Path


def kill_tree(pid: int, container: str) -> None:
    """Kill a process of a container and its descendants. `pid` is its id on the daemon's host.

    The process is killed only if the kernel lists the container's id among its cgroups. Otherwise the pid belongs to another
    process, because the daemon runs on another host or in another pid namespace, or because the pid was reused. Missing
    permission is no error.
    """
    with contextlib.ExitStack() as opened, contextlib.suppress(OSError):
        stopped, left = [], [pid] if pid > 1 else []
        while left:
            found = left.pop()
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(found)
                opened.callback(os.close, descriptor)
                if container in Path(f"/proc/{found}/cgroup").read_text():
                    signal.pidfd_send_signal(descriptor, signal.SIGSTOP)  # so that it starts no more processes
                    stopped.append(descriptor)
                    left += _children(found)
        for descriptor in stopped:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
