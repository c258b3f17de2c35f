"""Of the managers that fire the same job, one runs it."""

from concurrent.futures import ThreadPoolExecutor

from conductor.state.fleet.claims import WRONG_CLOCK_MINUTES, claim
from tests.fakes.objects import FakeObjects


def test_one_of_many_claims_a_minute() -> None:
    objects = FakeObjects()
    with ThreadPoolExecutor(8) as pool:
        for minute in range(100, 120):
            won = list(pool.map(lambda _, minute=minute: claim(objects, "web", "key", minute), range(8)))
            assert won.count(True) == 1
    assert len(objects.read_all()) == 1


def test_a_minute_that_is_over_is_not_claimed_later() -> None:
    objects = FakeObjects()
    assert [claim(objects, "web", "key", minute) for minute in (7, 7, 6, 8)] == [True, False, False, True]
    assert claim(objects, "web", "other", 7)
    assert claim(objects, "api", "key", 7)


def test_a_manager_with_a_wrong_clock_does_not_stop_a_job() -> None:
    objects = FakeObjects()
    assert claim(objects, "web", "key", 100 + WRONG_CLOCK_MINUTES + 1)
    assert claim(objects, "web", "key", 100)
