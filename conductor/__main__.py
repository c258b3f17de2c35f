"""The command's entry: `--version` answers before the command line library is even imported."""

import os
import sys

from conductor import __version__

STREAMS = ("stdin", "stdout", "stderr")  # in the order of their numbers


def main() -> None:
    """Run the command line and exit with its code."""
    open_closed_streams()
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"conductor {__version__}\n")
        return
    from conductor.cli import run

    sys.exit(run(sys.argv[1:]))


def open_closed_streams() -> None:
    """A stream that was never open (`2>&-`) is /dev/null, so that no file opened later gets its number and our words."""
    for number, name in enumerate(STREAMS):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            os.dup2(handle, number)
            if handle == number:
                os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))


if __name__ == "__main__":
    main()
