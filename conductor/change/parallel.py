"""The same call for several containers at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from conductor.errors import ConductorError

CALLS_AT_ONCE = 16  # to the daemon
POLL_SECONDS = 0.2

T = TypeVar("T")


def for_each(
    items: Sequence[T], call: Callable[[T], None], meanwhile: Callable[[], None] = lambda: None
) -> list[tuple[T, ConductorError]]:
    """Call `call` for all items in parallel; return those for which it failed. Any other exception is raised at the end.

    `meanwhile` is called while waiting. When it raises, the waiting ends: calls that have begun continue, and no other begins.
    """

    def attempt(item: T) -> ConductorError | None:
        try:
            call(item)
        except ConductorError as error:
            return error
        return None

    pool = ThreadPoolExecutor(CALLS_AT_ONCE)
    futures = [(item, pool.submit(attempt, item)) for item in items]
    pool.shutdown(wait=False)
    try:
        while wait([future for _, future in futures], POLL_SECONDS).not_done:
            meanwhile()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return [(item, error) for item, future in futures if (error := future.result())]
