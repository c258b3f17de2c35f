"""bin/web: the API from its first second to its last."""

import os
import sys
import threading
import time

from payments import broken, settings, signals
from payments.api import Api
from payments.server import Server
from payments.store import Store

GRACE_SECONDS = 25  # below the 30 s after which Docker is usually told to kill


def main() -> int:
    """Open the store, listen, and finish what is under way when told to stop."""
    signals.hold()
    kinds = broken.start("web")
    settings.log("web: boots")
    if signals.told_to_stop(within=settings.number("BOOT_SECONDS", 0.3)):
        return 0
    store = Store(settings.data_directory())
    store.migrate()
    host, port = os.environ.get("HOST") or "0.0.0.0", int(settings.number("PORT", 8080))
    server = Server((host, port), Api(store, kinds))
    server.start()
    settings.log(f"web: listens on {host}:{server.server_address[1]}")
    if "crashes" in kinds:
        threading.Timer(broken.seconds(), broken.give_up, ("web", "lost the mandate service")).start()
    signals.told_to_stop()
    if "ignores-stop" in kinds:
        signals.ignore_for_ever()
    began = time.monotonic()
    cut = server.finish(within=settings.number("GRACE_SECONDS", GRACE_SECONDS))
    store.close()
    settings.log(f"web: stopped after {time.monotonic() - began:.2f} s, {cut} requests cut")
    return 0


if __name__ == "__main__":
    sys.exit(main())
