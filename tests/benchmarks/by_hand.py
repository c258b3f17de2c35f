"""Upgrades by a hand-written script with nginx, on a test host that Conductor never touches."""

import os
import subprocess
from pathlib import Path

from tests.benchmarks.timing import process_seconds
from tests.support.host import TestHost
from tests.support.images import APP

SCRIPT = Path(__file__).with_name("swap_by_hand.sh")
SERVER = """\
server {{
    listen 127.0.0.1:{port};
    set $announce ""; if (-f {flag}) {{ set $announce 1; }}
    location = /.announce {{ internal; keepalive_timeout 0; set $announce ""; rewrite ^ $back last; }}
    location / {{
        if ($announce) {{ set $back $uri; rewrite ^ /.announce last; }}
        proxy_pass http://web$request_uri; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
    location = /ws {{
        proxy_pass http://web; proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
    }}
}}
"""


class ByHand:
    """The script `swap_by_hand.sh`. `announce_ms`: 0 reloads without an announcement. `waits`: for nginx's old workers.

    `boot`: the seconds that the app needs to listen.
    """

    def __init__(
        self,
        host: TestHost,
        *,
        replicas: int = 2,
        boot: float = 0.3,
        announce_ms: int = 500,
        waits: bool = True,
        polite: bool = False,
    ) -> None:
        self.host = host
        self.replicas = replicas
        self.network = host.subnet.rpartition(".")[0]
        self.number = 2
        flag = host.directory / "announce"
        host.nginx.servers_dir.joinpath("web.conf").write_text(SERVER.format(port=host.port(), flag=flag))
        label = f"conductor.instance={host.instance}"
        create = ["docker", "network", "create", "--subnet", host.subnet, "--label", label, host.network]
        subprocess.run(create, check=True, capture_output=True)
        self.env = {
            **os.environ,
            "INSTANCE": host.instance,
            "NETWORK": host.network,
            "IMAGE": APP,
            "NGINX": host.nginx.binary,
            "CONF": str(host.nginx.config),
            "INCLUDE": str(host.nginx.include_dir),
            "FLAG": str(flag),
            "PID_FILE": str(host.nginx.pid_file),
            "STATUS": f"http://127.0.0.1:{host.nginx.own_port}/stub_status",
            "ANNOUNCE_MS": str(announce_ms),
            "WAIT_SECONDS": "10" if waits else "0",
            "POLITE": "1" if polite else "",
            "BOOT": str(boot),
        }

    def upgrade(self, revision: str) -> float:
        """Return the seconds of an upgrade."""
        ips = [f"{self.network}.{self.number + n}" for n in range(self.replicas)]
        self.number += self.replicas
        return process_seconds(SCRIPT, revision, *ips, env=self.env)
