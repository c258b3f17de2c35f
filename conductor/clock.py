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

    def thread_cpu(self) -> float:
        """Return the seconds of CPU time that this thread has used."""
        return time.thread_time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def local(self) -> datetime.datetime:
        """Return this host's local time without a time zone, as cron reads it."""
        return datetime.datetime.now()  # noqa: DTZ005 (cron uses local time)

    def age(self, stamp: str) -> float:
        """Return the seconds since a time stamp of Conductor's or Docker's (RFC 3339)."""
        return (datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(stamp)).total_seconds()

    def seconds(self, stamp: str) -> int:
        """Return the whole seconds since 1970 of a time stamp (RFC 3339, UTC)."""
        return int(datetime.datetime.fromisoformat(stamp[:19]).replace(tzinfo=datetime.UTC).timestamp())

    def stamp_of(self, wall: float) -> str:
        """Return the time stamp, in the format of `stamp`, of a time in seconds since 1970."""
        return f"{datetime.datetime.fromtimestamp(wall, datetime.UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"

    def stamp(self, text: str) -> str:
        """Return a time (RFC 3339) in UTC with nine decimals, as Docker writes it. Raise `ValueError` for any other text."""
        then = datetime.datetime.fromisoformat(text)
        if then.tzinfo is None:
            raise ValueError(f"{text} has no time zone")
        return f"{then.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"

    def now(self) -> str:
        """Return the UTC time as RFC 3339 with milliseconds, for people and files."""
        return self.later(0.0)

    def later(self, seconds: float) -> str:
        """Return the UTC time in `seconds` from now, as `now` does."""
        return self.at(self.wall() + seconds)

    def at(self, wall: float) -> str:
        """Return the UTC time, in the format of `now`, of a time in seconds since 1970."""
        then = datetime.datetime.fromtimestamp(wall, datetime.UTC)
        return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_of_local(text: str) -> str:
    """Return the UTC time stamp of a local time without a zone (ISO 8601)."""
    return f"{datetime.datetime.fromisoformat(text).astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"


def seconds_between(began: str, ended: str) -> float:
    """Return the seconds between two time stamps of Conductor's."""
    first, last = (datetime.datetime.fromisoformat(stamp) for stamp in (began, ended))
    return (last - first).total_seconds()
