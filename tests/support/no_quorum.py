"""Cuts the managers of a swarm off from each other, and nothing else: no majority answers, and apps and nginx go on."""

import contextlib
from collections.abc import Iterable, Iterator

from tests.support.machine import Machine

RULE = ("INPUT", "-p", "tcp", "--dport", "2377", "-j", "DROP")


def cut(machines: Iterable[Machine]) -> None:
    """Drop what managers say to each other."""
    for one in machines:
        one.run("iptables", "-I", *RULE)


def restore(machines: Iterable[Machine]) -> None:
    """Let it pass again."""
    for one in machines:
        while one.run("iptables", "-D", *RULE, check=False).code == 0:
            pass


@contextlib.contextmanager
def restored(machines: Iterable[Machine]) -> Iterator[None]:
    """Restore at the end, whatever happens."""
    try:
        yield
    finally:
        restore(machines)
