"""bin/settle: a cron job that settles paid payments or prints a report."""

import argparse
import sys

from payments import broken, settings
from payments.store import Store


def main() -> int:
    """Settle; with `--report`, print the counts of a day (without `--day`, of all time)."""
    parser = argparse.ArgumentParser(prog="bin/settle", description="Settles paid payments.")
    parser.add_argument("--report", action="store_true", help="only print the number of payments by status")
    parser.add_argument("--day", default="", help="with --report: one day, for example 2024-05-31")
    options = parser.parse_args()
    broken.start("settle")
    store = Store(settings.data_directory())
    store.migrate()
    if options.report:
        counts = store.counts(options.day)
        print(f"{options.day or 'all time'}: {sum(counts.values())} payments")
        for status, count in sorted(counts.items()):
            print(f"  {status:<10}{count:>8}")
    else:
        print(f"settled {store.settle()} payments (revision {settings.revision()})")
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
