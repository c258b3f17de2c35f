"""The manual's page of faults is what the recorded campaigns give."""

import json

from tests.faults.results import COLUMNS, FILE, PAGE, TITLES, page


def test_the_page_is_that_of_the_recorded_campaigns() -> None:
    found = json.loads(FILE.read_text())
    assert PAGE.read_text() == page(found)
    assert set(found) == set(TITLES)
    for rows in found.values():
        for numbers in rows.values():
            assert set(numbers) == set(COLUMNS)
            assert numbers["survived"] == numbers["faults"] <= numbers["possible"]
            assert numbers["lost"] == 0
