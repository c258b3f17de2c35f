"""The clock: time stamps in one format, and intervals."""

import datetime
import re

from conductor.clock import Clock

CLOCK = Clock()


def test_stamps_are_utc_with_milliseconds_and_sort_as_text() -> None:
    now, later = CLOCK.now(), CLOCK.later(60.0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", now)
    assert now < later
    parsed = datetime.datetime.fromisoformat(now)
    assert abs(parsed.timestamp() - CLOCK.wall()) < 5


def test_the_age_of_conductors_and_dockers_stamps() -> None:
    assert 59 < CLOCK.age(CLOCK.later(-60.0)) < 65
    docker = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=60)
    assert 59 < CLOCK.age(f"{docker:%Y-%m-%dT%H:%M:%S}.123456789Z") < 65
    in_a_zone = docker.astimezone(datetime.timezone(datetime.timedelta(hours=2)))
    assert 59 < CLOCK.age(f"{in_a_zone:%Y-%m-%dT%H:%M:%S}.1+02:00") < 65


def test_a_sleep_takes_its_time() -> None:
    began = CLOCK.monotonic()
    CLOCK.sleep(0.05)
    assert CLOCK.monotonic() - began >= 0.05


def test_local_time_has_no_time_zone() -> None:
    assert CLOCK.local().tzinfo is None
