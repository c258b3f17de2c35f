"""The command's entry: `--version` answers before the command line library is even imported."""

import gc
import os
import sys

from conductor import __version__

STREAMS = ("stdin", "stdout", "stderr")  # in the order of their numbers
GARBAGE_THRESHOLD = 50_000  # objects; Python's 700 has its collector run 60 times during our imports: 7 ms of 90


def main() -> None:
    """Run the command line and exit with its code; what it said is flushed by then.

    Not by Python's own end, which takes 55 ms to free module by module what the kernel frees anyway (measured), and
    complains of streams that are gone.
    """
    open_closed_streams()
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        if sys.argv[1:] == ["--version"]:
            os._exit(say_version())
        from conductor.cli import run

        os._exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)  # before anything listened, or was begun


def say_version() -> int:
    """At no cost: what a command costs before it does anything is a promise."""
    from conductor.errors import ConductorError
    from conductor.output.streams import answer, remark

    try:
        answer(f"conductor {__version__}")
    except ConductorError as error:
        remark(f"error: {error.sentence}")
        return error.exit_code
    return 0


def open_closed_streams() -> None:
    """A stream that was never open (`2>&-`) is /dev/null, so that no file opened later gets its number and our words."""
    for number, name in enumerate(STREAMS):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle == number:
                os.set_inheritable(number, True)
            else:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))


if __name__ == "__main__":
    main()
