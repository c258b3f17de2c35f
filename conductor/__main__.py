"""The program's entry. `--version` is answered before click is imported."""

import gc
import io
import os
import sys

STREAMS = ("stdin", "stdout", "stderr")  # by file descriptor
GARBAGE_THRESHOLD = (
    50_000  # objects; with Python's default of 700 the collector runs again and again during the imports
)


def main() -> None:
    """Run the command line and exit with its code.

    `os._exit` skips Python's shutdown, which frees memory that the kernel frees anyway and prints errors about closed
    streams. All output is flushed by then.
    """
    open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # escapes what the locale cannot encode, as stderr does
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        if sys.argv[1:] == ["--version"]:
            os._exit(print_version())
        from conductor.cli import run

        os._exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)  # nothing has started yet


def print_version() -> int:
    """Print the version and return the exit code."""
    from conductor.errors import ConductorError
    from conductor.output.streams import write_stderr, write_stdout
    from conductor.version import version

    try:
        write_stdout(f"conductor {version()}")
    except ConductorError as error:
        write_stderr(f"error: {error.sentence}")
        return error.exit_code
    return 0


def open_closed_streams() -> None:
    """Open /dev/null for each closed standard stream, so that no other file gets its number and receives output."""
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
