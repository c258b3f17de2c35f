"""The parts of a value of `listen`, and the address that redirects to it."""

import pytest

from conductor.definitions.listen import host_and_port, redirecting, socket


@pytest.mark.parametrize(
    ("listen", "place", "compared"),
    [
        ("443 ssl", ("*", "443"), "443"),
        ("*:443 ssl", ("*", "443"), "443"),
        ("0.0.0.0:443", ("0.0.0.0", "443"), "443"),
        ("10.0.0.1", ("10.0.0.1", "80"), "10.0.0.1"),
        ("10.0.0.1:8443 ssl", ("10.0.0.1", "8443"), "10.0.0.1:8443"),
        ("[::]:443 ssl", ("[::]", "443"), "[::]:443"),
        ("[fd00::1]", ("[fd00::1]", "80"), "[fd00::1]"),
        ("localhost:81", ("localhost", "81"), "localhost:81"),
        ("unix:/run/a.sock ssl", None, "unix:/run/a.sock"),
    ],
)
def test_the_parts(listen: str, place: tuple[str, str] | None, compared: str) -> None:
    assert host_and_port(listen) == place
    assert socket(listen) == compared


@pytest.mark.parametrize(
    ("listen", "redirects"),
    [
        ("443 ssl", "80"),
        ("*:443 ssl http2", "80"),
        ("8443 ssl default_server", "80"),
        ("10.0.0.1:443 ssl", "10.0.0.1:80"),
        ("[::]:443 ssl ipv6only=off", "[::]:80 ipv6only=off"),
        ("8080", None),
        ("unix:/run/a.sock ssl", None),
    ],
)
def test_plain_requests_are_redirected_on_port_80_of_each_tls_address(listen: str, redirects: str | None) -> None:
    """`default_server` is not copied: another server block may be the default of port 80."""
    assert redirecting(listen) == redirects
