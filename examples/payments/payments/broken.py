"""Faults to switch on: `BROKEN` lists them, and `build --broken` sets it in an image.

`FAULT` breaks bin/web, `PROGRAM:FAULT` another program in bin/. Separate several faults with spaces or commas.
"""

import os
import sys

from payments import settings, signals

EXIT_CODE = 3
ANY_PROGRAM = {
    "exits": "exits with code 3 at once",
    "exits-later": "does not start working, and exits with code 3 after 3 s (BROKEN_SECONDS)",
}
STALL = {"stalls": "does nothing and never exits"}
LONG_RUNNING = {
    "crashes": "works, and exits with code 3 after 3 s (BROKEN_SECONDS)",
    "ignores-stop": "works, and ignores SIGTERM",
}
FAULTS = {
    "web": ANY_PROGRAM
    | LONG_RUNNING
    | {
        "unhealthy": "the health check returns 500 and the reason",
        "redirects": "the health check returns 302",
        "hangs": "the health check accepts the request and never responds",
        "never-listens": "runs, but does not open its port",
    },
    "worker": ANY_PROGRAM | STALL | LONG_RUNNING | {"unhealthy": "works, but does not touch its alive file"},
    "clock": ANY_PROGRAM | STALL | LONG_RUNNING,
    "migrate": ANY_PROGRAM | STALL,
    "settle": ANY_PROGRAM | STALL,
    "generate-cron": ANY_PROGRAM
    | STALL
    | {
        "bad-table": "prints one invalid line among valid ones",
        "prints-nothing": "prints nothing and exits with 0",
    },
}


def parse(word: str) -> tuple[str, str]:
    """Return program and fault of `[PROGRAM:]FAULT`; raise `ValueError` with the expected ones."""
    program, _, fault = word.rpartition(":")
    program = program or "web"
    if program not in FAULTS:
        raise ValueError(f"{word!r}: unknown program {program}; expected one of {', '.join(FAULTS)}")
    if fault not in FAULTS[program]:
        raise ValueError(f"{word!r}: unknown fault of bin/{program}; expected one of {', '.join(FAULTS[program])}")
    return program, fault


def faults(program: str) -> set[str]:
    """Return the program's faults in this revision."""
    try:
        words = [parse(word) for word in os.environ.get("BROKEN", "").replace(",", " ").split()]
    except ValueError as error:
        raise SystemExit(f"BROKEN: {error}") from None
    return {fault for broken, fault in words if broken == program}


def start(program: str) -> set[str]:
    """Exit or stall if a fault prevents the program's start; otherwise return its faults."""
    active = faults(program)
    if "exits" in active:
        fail(program, "cannot start: MANDATE_SERVICE_URL is not set")
    if "exits-later" in active:
        if signals.wait_for_stop(within=seconds()):
            sys.exit(0)
        fail(program, "cannot start: the mandate service timed out")
    if active & {"stalls", "never-listens"}:
        settings.log(f"{program}: waiting for a lock")
        signals.wait_for_stop()
        sys.exit(0)
    return active


def seconds() -> float:
    """Return the delay of `exits-later` and `crashes`."""
    return settings.number("BROKEN_SECONDS", 3)


def fail(program: str, reason: str) -> None:
    """Print the reason to standard error and exit without waiting for other threads."""
    print(f"{program}: {reason}", file=sys.stderr, flush=True)
    os._exit(EXIT_CODE)
