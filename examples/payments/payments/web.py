"""bin/web: runs the API."""

import os
import sys
import threading
import time

from payments import broken, settings, signals
from payments.api import Api
from payments.server import Server
from payments.store import Store

GRACE_SECONDS = 25  # shorter than a usual grace of 30 s before SIGKILL


def main() -> int:
    """Serve until a stop signal arrives, then finish requests in progress."""
    signals.block()
    faults = broken.start("web")
    settings.log("web: starting")
    if signals.wait_for_stop(within=settings.number("BOOT_SECONDS", 0.3)):
        return 0
    store = Store(settings.data_directory())
    store.migrate()
    host, port = os.environ.get("HOST") or "0.0.0.0", int(settings.number("PORT", 8080))
    server = Server((host, port), Api(store, faults))
    server.start()
    settings.log(f"web: listening on {host}:{server.server_address[1]}")
    if "crashes" in faults:
        threading.Timer(broken.seconds(), broken.fail, ("web", "lost the connection to the mandate service")).start()
    signals.wait_for_stop()
    if "ignores-stop" in faults:
        signals.ignore_stop()
    began = time.monotonic()
    cut = server.finish(within=settings.number("GRACE_SECONDS", GRACE_SECONDS))
    store.close()
    settings.log(f"web: stopped after {time.monotonic() - began:.2f} s, {cut} requests cut")
    return 0


if __name__ == "__main__":
    sys.exit(main())
