"""What is on a machine's file systems, so that two looks tell what was written between them."""

from tests.support.machine import Machine

# /run and /tmp are file systems of their own. Directories count by their mode and owner: their times change with what is in them.
FIND = (
    "find / /run /tmp -xdev ( -path /proc -o -path /sys -o -path /var/lib/docker ) -prune -o "
    "( -type d -printf %p\\t%m\\t%u\\n ) -o -printf %p\\t%m\\t%u\\t%s\\t%T@\\n"
)


class Footprint:
    """One look; `text` has a line for each path."""

    def __init__(self, machine: Machine) -> None:
        self._lines = machine.run(*FIND.split(" ")).stdout.splitlines()

    def text(self) -> str:
        """To be kept."""
        return "\n".join(sorted(self._lines)) + "\n"


def changes(before: str, after: str) -> list[str]:
    """Paths that came, went, or are others."""
    return sorted({line.split("\t")[0] for line in set(before.splitlines()) ^ set(after.splitlines())})
