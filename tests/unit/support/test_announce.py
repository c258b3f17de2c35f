"""Only a host that announces its reloads excuses a client that was idle for longer."""

import pytest

from tests.support.announce import announce_seconds


@pytest.mark.parametrize(
    ("definitions", "seconds"),
    [
        ("{version: 1, services: {}}", 0.5),
        ("{host: }", 0.5),
        ("{host: {nginx: {announce: 2s}}}", 2.0),
        ("{host: {nginx: {announce: 0, cutover: reload}}}", 0.0),
        ("{host: {nginx: {announce: 2s, cutover: live}}}", None),
    ],
)
def test_the_announce_of_a_host(definitions: str, seconds: float | None) -> None:
    assert announce_seconds(definitions) == seconds
