"""An upgrade against a hand-written script that makes the same calls: both in turns, in one run, as whole processes.

Two replicas, boot 0.3 s, announce 500 ms, no load. The bound is 1.2 times the script.
"""

import os
import statistics
import subprocess
import time
from pathlib import Path

from tests.benchmarks.timing import seconds_of
from tests.support.host import TestHost
from tests.support.images import APP

ROUNDS = 7
BOUND = 1.2
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
}}
"""


class ByHand:
    """The script on a test host of its own, which Conductor never touches."""

    def __init__(self, host: TestHost) -> None:
        self.host = host
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
            "ANNOUNCE_MS": "500",
        }

    def upgrade(self, revision: str) -> float:
        ips = [f"{self.network}.{self.number + n}" for n in range(2)]
        self.number += 2
        began = time.monotonic()
        subprocess.run([SCRIPT, revision, *ips], env=self.env, check=True, capture_output=True)
        return time.monotonic() - began


def test_at_most_a_fifth_slower_than_by_hand(images):
    conductor, script = [], []
    with TestHost() as ours, TestHost() as theirs:
        ours.define({"web": {}})
        by_hand = ByHand(theirs)
        for number in range(ROUNDS + 1):
            revision = f"r{number % 2 + 1}"
            script.append(by_hand.upgrade(revision))
            conductor.append(seconds_of(ours, "upgrade", "--revision", revision))
            for host in (ours, theirs):
                assert host.get().revision == revision
    ours_s, theirs_s = statistics.median(conductor[1:]), statistics.median(script[1:])
    print(
        f"\nupgrade of 2 replicas, median of {ROUNDS}: {ours_s:.2f} s, by hand {theirs_s:.2f} s: {ours_s / theirs_s:.2f} times"
    )
    assert ours_s <= BOUND * theirs_s
