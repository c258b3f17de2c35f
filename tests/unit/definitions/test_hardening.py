"""What a container may not do, and how a definition allows it."""

import pytest

from conductor.definitions.hardening import dropped_capabilities, process_limit, security_options
from conductor.definitions.model import Service

DROPPED = ("AUDIT_WRITE", "MKNOD", "NET_RAW")


@pytest.mark.parametrize(
    ("added", "dropped", "expected"),
    [
        ((), (), DROPPED),
        (("NET_RAW",), (), ("AUDIT_WRITE", "MKNOD")),
        (("cap_net_raw",), (), ("AUDIT_WRITE", "MKNOD")),
        (("ALL",), (), ()),
        ((), ("ALL",), ("ALL",)),
        (("NET_BIND_SERVICE",), ("CHOWN", "MKNOD"), ("CHOWN", "MKNOD", "AUDIT_WRITE", "NET_RAW")),
    ],
)
def test_capabilities(added: tuple[str, ...], dropped: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert dropped_capabilities(Service(image="a", cap_add=added, cap_drop=dropped)) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ((), ("no-new-privileges",)),
        (("apparmor=mine",), ("apparmor=mine", "no-new-privileges")),
        (("no-new-privileges:false",), ("no-new-privileges:false",)),
        (("no-new-privileges=true", "label=disable"), ("no-new-privileges=true", "label=disable")),
    ],
)
def test_options(written: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert security_options(Service(image="a", security_opt=written)) == expected


@pytest.mark.parametrize(("written", "expected"), [(None, 4096), (100, 100), (-1, None), (0, None)])
def test_processes(written: int | None, expected: int | None) -> None:
    assert process_limit(Service(image="a", pids_limit=written)) == expected
