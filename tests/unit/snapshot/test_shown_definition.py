"""What a page may show of a definition."""

from typing import Any

import pytest

from conductor.snapshot.shown_definition import HIDDEN, shown

REFERENCE = {"file": "/etc/conductor/secrets/a"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"env": {"A": "x", "file": "y", "B": REFERENCE}}, {"env": {"A": HIDDEN, "file": HIDDEN, "B": REFERENCE}}),
        ({"env_file": "/a.env"}, {"env_file": "/a.env"}),
        ({"env_file": {"path": "/a.env", "secret": True}}, {"env_file": {"path": "/a.env", "secret": True}}),
        (
            {"health": {"path": "/", "headers": {"Authorization": "Bearer x", "B": REFERENCE}}},
            {"health": {"path": "/", "headers": {"Authorization": HIDDEN, "B": REFERENCE}}},
        ),
        ({"notify": {"webhook": "https://a/x"}}, {"notify": {"webhook": HIDDEN}}),
        ({"notify": {"webhook": REFERENCE}}, {"notify": {"webhook": REFERENCE}}),
        ({"labels": {"a.users": "x"}}, {"labels": {"a.users": HIDDEN}}),
        (
            {"logging": {"driver": "splunk", "options": {"splunk-token": "x"}}},
            {"logging": {"driver": "splunk", "options": {"splunk-token": HIDDEN}}},
        ),
        ({"dns": {"options": ["ndots:1"]}}, {"dns": {"options": ["ndots:1"]}}),
        ({"command": ["app", "--port", "80"]}, {"command": ["app", "--port", "80"]}),
        ({"command": ["app", "--token=x", "A_KEY=y"]}, {"command": ["app", f"--token={HIDDEN}", f"A_KEY={HIDDEN}"]}),
        (
            {"before_upgrade": {"command": ["app", "--password", "x", "y"], "timeout": "1m"}},
            {"before_upgrade": {"command": ["app", "--password", HIDDEN, "y"], "timeout": "1m"}},
        ),
        ({"volumes": [{"type": "bind", "read_only": True}]}, {"volumes": [{"type": "bind", "read_only": True}]}),
        ({"of_a_newer_version": [{"env": {"A": "x"}}]}, {"of_a_newer_version": [{"env": {"A": HIDDEN}}]}),
    ],
)
def test_texts_that_may_be_secrets_are_not_shown(written: dict[str, Any], expected: dict[str, Any]) -> None:
    assert shown(written) == expected
