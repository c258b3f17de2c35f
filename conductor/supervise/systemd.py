"""systemd's notification protocol (sd_notify): datagrams to the socket that systemd names, if any."""

import contextlib
import os
import socket


def notify(**fields: str) -> bool:
    """Send fields, for example `notify(READY="1", STATUS="…")`; return True under systemd.

    A socket that cannot be reached is not a failure.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    message = "\n".join(f"{name}={value}" for name, value in fields.items()).encode()
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(message, f"\0{address[1:]}" if address.startswith("@") else address)
    return True


def watchdog_seconds() -> float | None:
    """Return systemd's watchdog timeout; None without one."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() else None
