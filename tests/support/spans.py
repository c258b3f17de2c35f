"""When containers ran, by what they wrote to a volume: lines `TIME HOSTNAME start|tick|end REVISION`, as the app's CLOCK_LOG."""

import itertools
from pathlib import Path
from typing import NamedTuple

# A hook that writes such lines before and after a line of shell.
HOOK = 'say() { echo "$(date +%s.%N) $(cat /etc/hostname) $1 $REVISION" >>"$log"; }; log=$0; wait=$1; say start; eval "$wait"; say end'


class Span(NamedTuple):
    """From a start to the last thing that was heard of it; `ended` says whether that was its end."""

    began: float
    last: float
    revision: str
    ended: bool


def hook(path: str, seconds: float) -> list[str]:
    """The command of a hook that notes its start and its end in the file `path`."""
    return ["sh", "-c", HOOK, path, f"sleep {seconds:g}"]


def hook_until(path: str, go: str) -> list[str]:
    """The command of such a hook that ends once the file `go` exists."""
    return ["sh", "-c", HOOK, path, f"while [ ! -e {go} ]; do sleep 0.05; done"]


def spans(path: Path) -> list[Span]:
    """All of them, in the order of their starts; a container that was started twice has two."""
    found: dict[str, list[Span]] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        stamp, hostname, word, revision = line.split()
        mine = found.setdefault(hostname, [])
        if word == "start":
            mine.append(Span(float(stamp), float(stamp), revision, ended=False))
        else:
            mine[-1] = mine[-1]._replace(last=float(stamp), ended=word == "end")
    return sorted(span for of_one in found.values() for span in of_one)


def overlaps(found: list[Span]) -> list[tuple[Span, Span]]:
    """Those that began before the one before them had ended."""
    return [(a, b) for a, b in itertools.pairwise(found) if b.began < a.last]
