"""Settings from environment variables; all have defaults."""

import os
from datetime import UTC, datetime
from pathlib import Path


def revision() -> str:
    """Return the revision, which `build` sets in the image."""
    return os.environ.get("REVISION") or "development"


def service() -> str:
    """Return the service's name for `X-Service`."""
    return os.environ.get("SERVICE") or "payments"


def data_directory() -> Path:
    """Return the directory of the volume that all containers share."""
    return Path(os.environ.get("PAYMENTS_DATA") or "data")


def number(name: str, default: float) -> float:
    """Return the number in a variable such as `BOOT_SECONDS`."""
    text = os.environ.get(name) or str(default)
    try:
        return float(text)
    except ValueError:
        raise SystemExit(f"{name}={text!r} is not a number") from None


def switch(name: str) -> bool:
    """Return whether a variable such as `EXIT_AT_ONCE` is set and not 0."""
    return os.environ.get(name, "") not in {"", "0"}


def stamp(time: datetime) -> str:
    """Return a UTC time with milliseconds in a format that sorts as text."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def now() -> str:
    """Return the current time."""
    return stamp(datetime.now(UTC))


def log(message: str) -> None:
    """Write one line to standard output."""
    print(f"{now()} [{revision()}] {message}", flush=True)
