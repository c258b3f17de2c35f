"""What a container listens on, as its kernel prints it, and the sentence about a failed check."""

import pytest

from conductor.plan.listening import explanation, parse

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = "00000000:00000000 00:00000000 00000000     0        0 36083 1 0000000000000000 100 0 0 10 0\n"
ANY6 = "0" * 32


def row(local: str, state: str = "0A") -> str:
    remote = "0" * local.index(":") + ":0000"
    return f"   0: {local} {remote} {state} {REST}"


TABLES = {
    "nothing": ("", []),
    "every address": (row("00000000:1F90"), ["0.0.0.0:8080"]),
    "loopback": (row("0100007F:1F90"), ["127.0.0.1:8080"]),
    "its own address": (row("020012AC:0050"), ["172.18.0.2:80"]),
    "every IPv6 address": (row(f"{ANY6}:1F90"), ["[::]:8080"]),
    "IPv6 loopback": (row("00000000000000000000000001000000:1F90"), ["[::1]:8080"]),
    "an IPv4 address in an IPv6 socket": (row("0000000000000000FFFF00000100007F:1F90"), ["127.0.0.1:8080"]),
    "a global IPv6 address": (row("B80D0120000000000000000001000000:01BB"), ["[2001:db8::1]:443"]),
    "Docker's resolver": (row("0B00007F:9C41"), []),
    "an open connection": (row("0100007F:1F90", "01"), []),
    "in the order of ports": (row("00000000:1F91") + HEAD + row("00000000:0050"), ["0.0.0.0:80", "0.0.0.0:8081"]),
    "twice, as of two workers": (row("00000000:0050") * 2, ["0.0.0.0:80"]),
    "more rows than digits in the column": (row("00000000:0050").replace("   0:", " 12345:"), ["0.0.0.0:80"]),
}


@pytest.mark.parametrize(("rows", "expected"), TABLES.values(), ids=TABLES)
def test_parse(rows: str, expected: list[str]) -> None:
    assert [str(one) for one in parse(HEAD + rows)] == expected


EXPLANATIONS = {
    "nothing": ("", "the app is not listening on any TCP port"),
    "loopback": (
        row("0100007F:1F90"),
        "the app is listening only on 127.0.0.1:8080, which cannot be reached from outside the container: listen on 0.0.0.0",
    ),
    "another port": (
        row("00000000:0BB8") + row("0100007F:0BB9"),
        "the app is listening on 0.0.0.0:3000, 127.0.0.1:3001, not on port 8080: change the app's port or the port in the definition",
    ),
    "loopback of both families": (
        row("0100007F:1F90") + row("00000000000000000000000001000000:1F90"),
        "the app is listening only on 127.0.0.1:8080, [::1]:8080, which cannot be reached from outside the container: listen on 0.0.0.0",
    ),
    "IPv6 only": (
        row(f"{ANY6}:1F90"),
        "the app is listening on [::]:8080 over IPv6 only, but health checks and nginx use IPv4: listen on 0.0.0.0",
    ),
    "every address": (row("00000000:1F90"), None),
    "its own address": (row("020012AC:1F90"), None),
    "loopback and its own address": (row("0100007F:1F90") + row("020012AC:1F90"), None),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "text"), EXPLANATIONS.values(), ids=EXPLANATIONS)
def test_explanation(rows: str, text: str | None) -> None:
    assert explanation(parse(rows), 8080, refused=True) == text


def test_an_ipv6_socket_that_does_not_refuse_accepts_ipv4_too() -> None:
    assert explanation(parse(row(f"{ANY6}:1F90")), 8080, refused=False) is None
