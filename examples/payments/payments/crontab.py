"""bin/generate-cron: prints the app's crontab, a plain one as `crontab -e` would show it."""

import sys

from payments import broken

TABLE = r"""# The payments app's jobs. Printed by bin/generate-cron.
MAILTO=payments@example.com

# Pay out what has been paid.
*/10 * * * * bin/settle

# How the day went, on working days. Cron reads a bare % as the end of the command.
55 23 * * mon-fri bin/settle --report --day "$(date -u +\%F)"

# All there is, on the first of the month.
0 6 1 * * bin/settle --report
"""
BAD_LINE = "61 * * * * bin/settle\n"


def main() -> int:
    """Print the table, or what a broken revision prints."""
    kinds = broken.start("generate-cron")
    if "prints-nothing" not in kinds:
        print(TABLE + (BAD_LINE if "bad-table" in kinds else ""), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
