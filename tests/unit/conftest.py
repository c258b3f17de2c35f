"""What every unit test leaves as it was."""

import gc
import os
import signal
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

# A slow run on a busy machine must not fail a test, and a failure must be there again in the next run. New examples are
# tried where the hostile texts are random too.
settings.register_profile(
    "unit",
    deadline=None,
    derandomize="CONDUCTOR_HOSTILE" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unit")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """No garbage is collected until all tests are there. Later collections, some by tests themselves, leave them out."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """A command that runs within a test handles or ignores signals, which later tests and their processes would inherit."""
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
