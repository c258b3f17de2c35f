"""The ways a revision can be broken on purpose, from `BROKEN`, which `build --broken` bakes into the image.

`BROKEN` is a list of words: `KIND` breaks bin/web, `PROGRAM:KIND` breaks another program of bin/.
"""

import os
import sys

from payments import settings, signals

EXIT_CODE = 3
ANYWHERE = {
    "exits": "exits with code 3 at once",
    "exits-later": "does nothing useful and exits with code 3 after 3 s (BROKEN_SECONDS)",
}
STALLS = {"stalls": "runs, but does nothing and never ends"}
SERVING = {
    "crashes": "works at first, and exits with code 3 after 3 s (BROKEN_SECONDS)",
    "ignores-stop": "works, and ignores SIGTERM",
}
KINDS = {
    "web": ANYWHERE
    | SERVING
    | {
        "unhealthy": "the health check answers 500 and says why",
        "redirects": "the health check answers 302",
        "hangs": "the health check takes the request and never answers",
        "never-listens": "runs, but never opens its port",
    },
    "worker": ANYWHERE | STALLS | SERVING | {"unhealthy": "works, but never touches its alive file"},
    "clock": ANYWHERE | STALLS | SERVING,
    "migrate": ANYWHERE | STALLS,
    "settle": ANYWHERE | STALLS,
    "generate-cron": ANYWHERE
    | STALLS
    | {
        "bad-table": "one line among good ones that cron would refuse",
        "prints-nothing": "exit code 0, no table",
    },
}


def check(word: str) -> tuple[str, str]:
    """Split `[PROGRAM:]KIND`; `ValueError` with the words there are."""
    program, _, kind = word.rpartition(":")
    program = program or "web"
    if program not in KINDS:
        raise ValueError(f"{word!r}: there is no bin/{program} to break: write one of {', '.join(KINDS)}")
    if kind not in KINDS[program]:
        raise ValueError(
            f"{word!r}: bin/{program} cannot be broken like this: write one of {', '.join(KINDS[program])}"
        )
    return program, kind


def kinds(program: str) -> set[str]:
    """How this program is broken in this revision; empty for a good one."""
    try:
        words = [check(word) for word in os.environ.get("BROKEN", "").replace(",", " ").split()]
    except ValueError as error:
        raise SystemExit(f"BROKEN: {error}") from None
    return {kind for broken, kind in words if broken == program}


def start(program: str) -> set[str]:
    """Do at once what a broken program does instead of starting; otherwise return how it is broken."""
    broken = kinds(program)
    if "exits" in broken:
        give_up(program, "cannot start: MANDATE_SERVICE_URL is not set")
    if "exits-later" in broken:
        if signals.told_to_stop(within=seconds()):
            sys.exit(0)
        give_up(program, "cannot start: the mandate service did not answer in time")
    if broken & {"stalls", "never-listens"}:
        settings.log(f"{program}: waits for a lock that nobody will release")
        signals.told_to_stop()
        sys.exit(0)
    return broken


def seconds() -> float:
    """How long `exits-later` and `crashes` take."""
    return settings.number("BROKEN_SECONDS", 3)


def give_up(program: str, why: str) -> None:
    """Say why on standard error and end the whole process, whatever its threads are doing."""
    print(f"{program}: {why}", file=sys.stderr, flush=True)
    os._exit(EXIT_CODE)
