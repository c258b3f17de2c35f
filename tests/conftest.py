"""Fixtures for all tests: the images and a private host are made when a test asks for them."""

from collections.abc import Generator, Iterator

import pytest

from tests.support.host import TestHost
from tests.support.images import ensure_app

FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes; only `tests/run long` and `tests/run all` run it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `long` run only when asked for with -m, or by name."""
    if config.option.markexpr or any("::" in word for word in config.args):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def images() -> None:
    """The fixture app's images, r1 to r9."""
    ensure_app()


@pytest.fixture
def host(images: None, request: pytest.FixtureRequest) -> Iterator[TestHost]:
    """A private host with a running nginx; a failed test prints what was on it."""
    with TestHost() as made:
        yield made
        if request.node.stash.get(FAILED, False):
            print(made.describe())
