"""The command's entry: `--version` answers before the command line library is even imported."""

import sys

from conductor import __version__


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"conductor {__version__}\n")
        return
    from conductor.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
