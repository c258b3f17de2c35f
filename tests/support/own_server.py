"""The operator's own server block, with Conductor's two includes: the second of the two ways in."""

from typing import Any

from tests.support.host import TestHost

# What goes into the definition: an upstream, and no server block of Conductor's.
UPSTREAM_ONLY: dict[str, Any] = {"nginx": {"server": None}}
PLAIN = "location / {{ {bounce} proxy_pass http://{service}$request_uri; {headers} }}"
HEADERS = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_connect_timeout 1s;'


def own_server(host: TestHost, service: str = "web", locations: str = PLAIN, *, listen: int = 0) -> str:
    """The block's text. In `locations`, `{bounce}` is the include, `{headers}` the usual proxy settings."""
    include = f"include {host.nginx.include_dir}/"
    filled = locations.format(bounce=f"{include}location.inc;", service=service, headers=HEADERS)
    port = listen or host.port(service)
    return f"server {{\n  listen 127.0.0.1:{port};\n  {include}server.inc;\n  {filled}\n}}\n"


def install_own_server(host: TestHost, service: str = "web", locations: str = PLAIN) -> None:
    """As a cookbook does it: `nginx install` first, so that the operator's block finds its upstream and includes."""
    host.conductor("nginx", "install", check=True)
    host.nginx.add_server(service, own_server(host, service, locations))
    tested = host.nginx.test()
    assert tested.returncode == 0, tested.stderr
    before = host.nginx.workers()
    host.nginx.reload()
    host.wait_for(lambda: (now := host.nginx.workers()) and not now & before, "nginx to know the block")
