"""What the environment decides, read when asked for; every variable has a default."""

import os
from datetime import UTC, datetime
from pathlib import Path


def revision() -> str:
    """The revision this is; `build` bakes it into the image."""
    return os.environ.get("REVISION") or "development"


def service() -> str:
    """The name in every answer's `X-Service`."""
    return os.environ.get("SERVICE") or "payments"


def data_directory() -> Path:
    """The volume that the containers of all revisions share."""
    return Path(os.environ.get("PAYMENTS_DATA") or "data")


def number(name: str, default: float) -> float:
    """A number from the environment, for example `BOOT_SECONDS`."""
    written = os.environ.get(name) or str(default)
    try:
        return float(written)
    except ValueError:
        raise SystemExit(f"{name}={written!r} is not a number") from None


def switch(name: str) -> bool:
    """Whether a variable such as `RUDE_EXIT` is set to something other than 0."""
    return os.environ.get(name, "") not in {"", "0"}


def stamp(time: datetime) -> str:
    """A time as it is stored and logged: UTC, milliseconds, sorts as text."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def now() -> str:
    """The time it is."""
    return stamp(datetime.now(UTC))


def log(message: str) -> None:
    """Write one line to standard output, where Docker collects it."""
    print(f"{now()} [{revision()}] {message}", flush=True)
