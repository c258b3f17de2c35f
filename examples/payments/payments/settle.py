"""bin/settle: run by cron. Puts what has been paid into a settlement, or reports on a day."""

import argparse
import sys

from payments import broken, settings
from payments.store import Store


def main() -> int:
    """Settle, or with `--report` print the counts of a day (of all time without `--day`)."""
    parser = argparse.ArgumentParser(prog="bin/settle", description="Pays out what has been paid.")
    parser.add_argument("--report", action="store_true", help="only print how many payments there are by status")
    parser.add_argument("--day", default="", help="for --report: one day, for example 2024-05-31")
    wanted = parser.parse_args()
    broken.start("settle")
    store = Store(settings.data_directory())
    store.migrate()
    if wanted.report:
        counts = store.counts(wanted.day)
        print(f"{wanted.day or 'all time'}: {sum(counts.values())} payments")
        for status, count in sorted(counts.items()):
            print(f"  {status:<10}{count:>8}")
    else:
        print(f"settled {store.settle()} payments (revision {settings.revision()})")
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
