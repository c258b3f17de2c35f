"""Entries of a history that an earlier version wrote."""

import msgspec

from conductor.plan.history import HistoryEntry, Outcome


def test_the_earlier_name_of_an_outcome_is_read() -> None:
    text = (
        '{"at": "x", "service": "web", "action": "upgrade", "outcome": "recovered-back", "who": "root", "command": "c"}'
    )
    assert msgspec.json.decode(text, type=HistoryEntry).outcome is Outcome.RECOVERED_ROLLED_BACK
