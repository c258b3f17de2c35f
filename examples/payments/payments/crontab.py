"""bin/generate-cron: prints the app's crontab in the format of `crontab -e`."""

import sys

from payments import broken

TABLE = r"""# The payments app's jobs, printed by bin/generate-cron.
MAILTO=payments@example.com

# Settle paid payments.
*/10 * * * * bin/settle

# Report on the day, on working days. Cron needs % to be escaped.
55 23 * * mon-fri bin/settle --report --day "$(date -u +\%F)"

# Report on all payments on the first of the month.
0 6 1 * * bin/settle --report
"""
BAD_LINE = "61 * * * * bin/settle\n"


def main() -> int:
    """Print the table with the revision's faults."""
    faults = broken.start("generate-cron")
    if "prints-nothing" not in faults:
        print(TABLE + (BAD_LINE if "bad-table" in faults else ""), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
