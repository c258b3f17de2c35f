"""The floor of `supervise`: a bare loop that makes the same HTTP checks, evenly spread, and one list call every 5 s.

    python -m tests.benchmarks.bare_checks DOCKER_URL INSTANCE ADDRESS CHECKS

It uses the standard library's HTTP client, as a script written by hand would.
"""

import http.client
import sys
import time

from tests.benchmarks.docker_http import list_call

PERIOD_SECONDS = 5.0


def main(docker: str, instance: str, address: str, checks: int) -> None:
    """Run until killed. `checks`: in each period."""
    at = time.monotonic()
    while True:
        list_call(docker, instance)
        for _ in range(checks):
            replica = http.client.HTTPConnection(address, timeout=5)
            replica.request("GET", "/health", headers={"Connection": "close"})
            answer = replica.getresponse()
            answer.read()
            assert answer.status == 200
            replica.close()
            at += PERIOD_SECONDS / checks
            time.sleep(max(0.0, at - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
