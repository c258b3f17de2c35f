"""What is on a machine's file systems, so that two looks tell what was written between them."""

from tests.support.machine import Machine

# /run and others are file systems of their own. Directories count by their mode and owner: their times change with what is in them.
FIND = (
    "find / /run /run/lock /tmp /dev/shm -ignore_readdir_race -xdev "
    "( -path /proc -o -path /sys -o -path /var/lib/docker ) -prune -o "
    "( -type d -printf %p\\t%m\\t%u\\n ) -o -printf %p\\t%m\\t%u\\t%s\\t%T@\\n"
)


def footprint(machine: Machine) -> set[str]:
    """One look: a line for each path."""
    return set(machine.run(*FIND.split(" ")).stdout.splitlines())


def changes(before: set[str], after: set[str]) -> set[str]:
    """Paths that came, went, or are others."""
    return {line.split("\t")[0] for line in before ^ after}
