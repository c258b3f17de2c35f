"""The options of `service logs`."""

import pytest
from click.testing import CliRunner

from conductor.clock import Clock
from conductor.commands.service.logs import command


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--grep", "("], "is not a valid regular expression"),
        (["--tail", "-1"], "is neither a number of lines nor all"),
        (["--tail", "ten"], "is neither a number of lines nor all"),
        (["--since", "yesterday"], "is neither a duration such as 10m nor a time"),
        (["--since", "2026-01-31T08:00:00"], "is neither a duration such as 10m nor a time"),
        (["--since", "-5m"], "is neither a duration such as 10m nor a time"),
        (["--since", "1e400"], "is neither a duration such as 10m nor a time"),
    ],
)
def test_options_that_are_refused(options: list[str], words: str) -> None:
    result = CliRunner().invoke(command, ["--id", "web", *options])
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    ("written", "stamp"),
    [
        ("2026-01-31T08:00:00Z", "2026-01-31T08:00:00.000000000Z"),
        ("2026-01-31T09:30:00.25+01:30", "2026-01-31T08:00:00.250000000Z"),
        ("2026-01-31T08:00:00.123456789Z", "2026-01-31T08:00:00.123456000Z"),
    ],
)
def test_times(written: str, stamp: str) -> None:
    assert Clock().stamp(written) == stamp


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Clock().stamp("2026-01-31T08:00:00")
