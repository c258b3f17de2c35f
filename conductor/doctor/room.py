"""Free disk space, as several checks report it."""

from collections.abc import Iterator

from conductor.doctor.examination import Examination
from conductor.doctor.finding import Finding, Severity

LOW_BYTES, FULL_BYTES = 2 * 2**30, 200 * 2**20  # less free space is a warning, or an error


def little_room(host: Examination, check: str, directory: str, why: str) -> Iterator[Finding]:
    """Yield a finding if the file system of a directory has little free space."""
    room = host.room(directory)
    if room is not None and room.free < LOW_BYTES:
        full = room.free < FULL_BYTES
        yield Finding(
            severity=Severity.ERROR if full else Severity.WARNING,
            check=check,
            what=f"{size(room.free)} free on the disk that holds {directory}",
            why=why if full else f"once the disk is full, {why}",
            fix="conductor gc   (if that is not enough: docker system df shows the space used by images, du -xh / that used by files)",
        )


def size(number: int) -> str:
    """Return a number of bytes as human-readable text."""
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"
