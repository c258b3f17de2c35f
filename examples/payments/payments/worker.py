"""bin/worker: takes pending payments to the bank, which collects them, and touches its alive file each round."""

import sys
import time
from datetime import UTC, datetime, timedelta

from payments import alive, broken, settings, signals
from payments.store import Store

ROUND_SECONDS = 1.0
PENDING_SECONDS = 5.0  # how long a payment can still be cancelled


def main() -> int:
    """Do a round a second until told to stop; a round that has begun is finished."""
    signals.hold()
    kinds = broken.start("worker")
    store = Store(settings.data_directory())
    store.migrate()
    settings.log("worker: starts")
    ends = time.monotonic() + broken.seconds()
    while True:
        one_round(store)
        if "unhealthy" not in kinds:
            alive.touch()
        if "crashes" in kinds and time.monotonic() >= ends:
            broken.give_up("worker", "lost the bank")
        if signals.told_to_stop(within=settings.number("WORKER_SECONDS", ROUND_SECONDS)):
            break
    if "ignores-stop" in kinds:
        signals.ignore_for_ever()
    store.close()
    settings.log("worker: ends")
    return 0


def one_round(store: Store) -> None:
    """Submitted payments become paid, pending ones of some age become submitted."""
    age = timedelta(seconds=settings.number("PENDING_SECONDS", PENDING_SECONDS))
    old_enough = settings.stamp(datetime.now(UTC) - age)
    paid = store.advance("submitted", "paid", created_before=old_enough)
    submitted = store.advance("pending", "submitted", created_before=old_enough)
    if paid or submitted:
        settings.log(f"worker: {submitted} submitted, {paid} paid")


if __name__ == "__main__":
    sys.exit(main())
