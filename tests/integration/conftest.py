"""Fixtures of the integration tests, which need root, the Docker daemon and nginx; `tests/run` provides them."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.support.aftermath import QUICK, nothing_left_behind
from tests.support.host import TestHost
from tests.support.odd_clients import SlowUpload
from tests.support.real_parts import need_real_parts
from tests.support.supervised import Supervised


@pytest.fixture(scope="session", autouse=True)
def real_parts() -> None:
    need_real_parts()


@pytest.fixture(scope="module")
def module_host(images: None) -> Iterator[TestHost]:
    """The host of `serving`."""
    with TestHost() as made:
        yield made


@pytest.fixture
def serving(module_host: TestHost, request: pytest.FixtureRequest) -> Iterator[TestHost]:
    """A host where one container of `web` r1 serves. The tests of a module share it."""
    module_host.define({"web": QUICK})
    if not is_as_left(module_host):
        module_host.upgrade("r1", "web", "--force", check=True)
    before = request.session.testsfailed
    yield module_host
    if request.session.testsfailed > before:
        print(module_host.describe())


@pytest.fixture
def web(serving: TestHost) -> Iterator[TestHost]:
    """`serving`, with its definition, its count and its running state restored after the test."""
    yield serving
    serving.define({"web": QUICK})
    if (serving.wanted() or {}).get("stopped"):
        serving.conductor("service", "start", "--id", "web")
    serving.conductor("service", "scale", "--id", "web", "--reset")


@pytest.fixture
def uploading(serving: TestHost) -> Iterator[Callable[[float], SlowUpload]]:
    """Start an upload to `web` that takes so many seconds."""
    with contextlib.ExitStack() as stack:
        yield lambda seconds: stack.enter_context(contextlib.closing(SlowUpload(serving.url(), seconds=seconds)))


@pytest.fixture
def sup(host: TestHost) -> Iterator[Supervised]:
    """Two replicas of `web` serve; `supervise` is not started yet."""
    made = Supervised(host)
    try:
        host.define({"web": made.service()})
        host.upgrade("r1", check=True)
        yield made
    finally:
        print(f"log of supervise:\n{made.log}")
        made.end()


def is_as_left(host: TestHost) -> bool:
    """True when r1 serves and nothing else is left, as after most tests."""
    try:
        nothing_left_behind(host, "r1")
    except (AssertionError, OSError):
        return False
    return True
