"""bin/worker: submits pending payments to the bank and touches its alive file after each round."""

import sys
import time
from datetime import UTC, datetime, timedelta

from payments import alive, broken, settings, signals
from payments.store import Store

ROUND_SECONDS = 1.0
PENDING_SECONDS = 5.0  # how long a payment can still be cancelled


def main() -> int:
    """Run a round per second until a stop signal arrives; finish the current round."""
    signals.block()
    faults = broken.start("worker")
    store = Store(settings.data_directory())
    store.migrate()
    settings.log("worker: started")
    crash_at = time.monotonic() + broken.seconds()
    while True:
        one_round(store)
        if "unhealthy" not in faults:
            alive.touch()
        if "crashes" in faults and time.monotonic() >= crash_at:
            broken.fail("worker", "lost the connection to the bank")
        if signals.wait_for_stop(within=settings.number("WORKER_SECONDS", ROUND_SECONDS)):
            break
    if "ignores-stop" in faults:
        signals.ignore_stop()
    store.close()
    settings.log("worker: stopped")
    return 0


def one_round(store: Store) -> None:
    """Mark submitted payments as paid, and pending ones older than PENDING_SECONDS as submitted."""
    age = timedelta(seconds=settings.number("PENDING_SECONDS", PENDING_SECONDS))
    old_enough = settings.stamp(datetime.now(UTC) - age)
    paid = store.advance("submitted", "paid", created_before=old_enough)
    submitted = store.advance("pending", "submitted", created_before=old_enough)
    if paid or submitted:
        settings.log(f"worker: {submitted} submitted, {paid} paid")


if __name__ == "__main__":
    sys.exit(main())
