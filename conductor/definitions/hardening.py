"""What a container may not do unless its definition allows it (pure).

The defaults reach containers that are created from now on. They are in no digest, so that no running container counts as
drifted after an upgrade of Conductor.
"""

from typing import Final

from conductor.definitions.model import Service

PROCESSES: Final = 4096  # far above what an app needs, far below what a host has
# Docker's own default set has these, Podman's does not: raw packets, new devices, writes to the audit log.
DROPPED: Final = ("AUDIT_WRITE", "MKNOD", "NET_RAW")
NO_NEW_PRIVILEGES: Final = "no-new-privileges"


def security_options(service: Service) -> tuple[str, ...]:
    """Return the options as written, and `no-new-privileges` unless it is among them (`no-new-privileges:false` is)."""
    names = {option.replace(":", "=").partition("=")[0] for option in service.security_opt}
    return service.security_opt if NO_NEW_PRIVILEGES in names else (*service.security_opt, NO_NEW_PRIVILEGES)


def dropped_capabilities(service: Service) -> tuple[str, ...]:
    """Return `cap_drop`, and the capabilities of `DROPPED` that the definition does not add."""
    written = {name.upper().removeprefix("CAP_") for name in (*service.cap_add, *service.cap_drop)}
    return (
        service.cap_drop if "ALL" in written else (*service.cap_drop, *(one for one in DROPPED if one not in written))
    )


def process_limit(service: Service) -> int | None:
    """Return the highest number of processes and threads; None without a limit."""
    limit = PROCESSES if service.pids_limit is None else service.pids_limit
    return limit if limit > 0 else None
