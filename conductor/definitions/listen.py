"""The parts of a value of nginx's `listen` directive (pure)."""


def host_and_port(listen: str) -> tuple[str, str] | None:
    """Return host and port as written, with `*` for every address; None for a unix socket."""
    address = next(iter(listen.split()), "")
    if address.startswith("unix:"):
        return None
    if address.isdigit():
        return "*", address
    host, colon, port = address.rpartition(":")
    if not colon or port.endswith("]"):  # an IPv4 address, an IPv6 address or a name, without a port
        return address, "80"
    return host, port


def socket(listen: str) -> str:
    """Return the address as nginx compares it: `80`, `*:80` and `0.0.0.0:80` are one socket."""
    return next(iter(listen.split()), "").removeprefix("0.0.0.0:").removeprefix("*:")


def redirecting(listen: str) -> str | None:
    """Return the value for port 80 of the same address; None for a value without TLS and for a unix socket."""
    place, parameters = host_and_port(listen), listen.split()[1:]
    if place is None or "ssl" not in parameters:
        return None
    address = "80" if place[0] == "*" else f"{place[0]}:80"
    return " ".join([address, *(word for word in parameters if word.startswith("ipv6only="))])
