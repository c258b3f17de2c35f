"""Fixtures for all tests: the images and a private host are made when a test asks for them."""

import signal
from collections.abc import Generator, Iterator

import pytest

from tests.support.host import TestHost
from tests.support.images import ensure_app

FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes; only `tests/run long` and `tests/run all` run it")
    config.addinivalue_line("markers", "both_ways(short): tests that also run with cutover: live (long unless short)")
    config.addinivalue_line("markers", "by_reload: not with both_ways, because it is about reloads")
    for number in (signal.SIGHUP, signal.SIGQUIT):  # tests would inherit that nohup or a shell's & ignores them
        signal.signal(number, signal.SIG_DFL)


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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that are marked `both_ways` run in both ways; those that are not `short` run with `live` only as long tests."""
    both, by_reload = map(metafunc.definition.get_closest_marker, ("both_ways", "by_reload"))
    if both and not by_reload and "cutover" in metafunc.fixturenames:
        live = pytest.param("live", marks=() if both.kwargs.get("short") else pytest.mark.long)
        metafunc.parametrize("cutover", ["reload", live], scope="module")


@pytest.fixture(scope="module")
def cutover() -> str:
    """How requests are switched, unless a test or a module chooses."""
    return "reload"


@pytest.fixture
def host(images: None, cutover: str, request: pytest.FixtureRequest) -> Iterator[TestHost]:
    """A private host with a running nginx; a failed test prints what was on it."""
    with TestHost(cutover=cutover) as made:
        yield made
        if request.node.stash.get(FAILED, False):
            print(made.describe())
