"""Swarm's rolling update (start-first) on one whole host, behind an nginx that resolves the service's name every second.

The name resolves to the tasks (`--endpoint-mode dnsrr`): not every kernel has IP_VS, which Swarm's own addresses need.
"""

import contextlib
from collections.abc import Iterator

from tests.benchmarks.peers import Peer
from tests.support.images import APP, REVISIONS
from tests.support.machine import Machine

PORT = 8090
HEALTH = (
    "import socket; s = socket.create_connection(('127.0.0.1', 8080), 2); "
    "s.sendall(b'GET /health HTTP/1.0\\r\\n\\r\\n'); assert b' 200 ' in s.recv(100)"
)
EDGE = f"""\
worker_processes 2;
pid /run/edge.pid;
error_log /var/log/nginx/edge.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    resolver 127.0.0.11 valid=1s ipv6=off;
    server {{
        listen {PORT};
        set $name web;
        location / {{
            proxy_pass http://$name:8080$request_uri; proxy_http_version 1.1; proxy_set_header Connection "";
        }}
        location = /ws {{
            proxy_pass http://$name:8080; proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
        }}
    }}
}}
"""


@contextlib.contextmanager
def swarm(polite: bool) -> Iterator[Peer]:
    """The first upgrade creates the service."""
    with Machine("swarm") as machine:
        machine.load_images(*(f"{APP}:{revision}" for revision in REVISIONS))
        machine.run("docker", "swarm", "init", "--advertise-addr", machine.address)
        machine.run("docker", "network", "create", "--driver", "overlay", "--attachable", "web")
        edge = ("--detach", "--name", "edge", "--network", "web", "--publish", f"{PORT}:{PORT}")
        machine.run("docker", "run", *edge, f"{APP}:r1", "sleep", "infinity")
        pid = machine.run("docker", "inspect", "--format", "{{.State.Pid}}", "edge").stdout.strip()
        machine.run("sh", "-c", "cat >/etc/nginx/edge.conf", input=EDGE)
        # Docker's resolver is at 127.0.0.11 in the network namespace of each container.
        machine.run("nsenter", "--net", "--target", pid, "nginx", "-c", "/etc/nginx/edge.conf")
        create = [
            "docker", "service", "create", "--quiet", "--no-resolve-image", "--name", "web", "--network", "web", "--replicas", "2",
            "--endpoint-mode", "dnsrr", "--env", "SERVICE=web", "--env", f"POLITE={'1' if polite else ''}",
            "--health-cmd", f'python3 -I -S -c "{HEALTH}"', "--health-interval", "500ms", "--stop-grace-period", "3s",
            "--update-order", "start-first", "--update-monitor", "1s",
        ]  # fmt: skip
        update = ["docker", "service", "update", "--quiet", "--no-resolve-image"]
        created = False

        def upgrade(revision: str) -> None:
            nonlocal created
            words = [*update, "--image", f"{APP}:{revision}", "web"] if created else [*create, f"{APP}:{revision}"]
            machine.run(*words)
            created = True

        yield Peer(f"http://{machine.address}:{PORT}/", upgrade)
