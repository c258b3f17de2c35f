"""The clock: the only module that reads the time."""

import datetime
import time


class Clock:
    """Wall time and monotonic time."""

    def monotonic(self) -> float:
        """Return seconds that never jump, for intervals."""
        return time.monotonic()

    def wall(self) -> float:
        """Return seconds since 1970, as the Docker daemon counts them."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def local(self) -> datetime.datetime:
        """Return this host's local time without a time zone, as cron reads it."""
        return datetime.datetime.now()  # noqa: DTZ005 (cron uses local time)

    def age(self, stamp: str) -> float:
        """Return the seconds since a time stamp of Conductor's or Docker's (RFC 3339, UTC)."""
        then = datetime.datetime.fromisoformat(stamp[:19]).replace(tzinfo=datetime.UTC)
        return (datetime.datetime.now(datetime.UTC) - then).total_seconds()

    def now(self) -> str:
        """Return the UTC time as RFC 3339 with milliseconds, for people and files."""
        return self.later(0.0)

    def later(self, seconds: float) -> str:
        """Return the UTC time in `seconds` from now, as `now` does."""
        then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")
