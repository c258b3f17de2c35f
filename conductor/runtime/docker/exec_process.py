"""Ends a command that hangs inside a container: the Engine API has no call for it, so the host's kernel does it."""

import contextlib
import os
import signal
from pathlib import Path


def kill_tree(pid: int, container: str) -> None:
    """Kill a process of a container and all that it started. `pid` is its number on the daemon's host.

    The kernel's list of the process's cgroups has the container's id. Without it the process is another one: the daemon
    runs on another host or in another pid namespace, or the number was given to a new process. Nothing is killed then, and
    nothing when this process may not.
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
