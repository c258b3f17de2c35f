"""What systemd is told (sd_notify): datagrams to the socket that it names; without one, nothing."""

import os
import socket


def notify(**fields: str) -> None:
    """For example `notify(READY="1", STATUS="…")`. A manager that does not listen is no failure."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    said = "\n".join(f"{name}={value}" for name, value in fields.items()).encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(said, f"\0{address[1:]}" if address.startswith("@") else address)
    except OSError:
        return


def watchdog_seconds() -> float | None:
    """How often systemd wants to hear of us; None when it does not."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() else None
