"""Options and fixtures of the benchmarks. Each test records its figures, and fails if one of their bounds is missed."""

import json
import math
import os
import socket
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.benchmarks.figures import FILE, Figures
from tests.benchmarks.page import PAGE
from tests.benchmarks.pictures import draw
from tests.benchmarks.timing import compiled

SHORT_SECONDS = 120.0  # then, the short form starts no benchmark any more, so that it ends within 3 minutes
SERVICES = 50  # of `environment`
BEGAN = time.monotonic()
WRITTEN = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--short", action="store_true", help="few pairs of the benchmarks for CI; writes no figures")
    parser.addoption(
        "--most-pairs",
        type=int,
        default=0,
        help="measure or upgrade only so often, to try a benchmark; writes no figures",
    )
    parser.addoption("--kamal-proxy", metavar="PATH", help="measure this binary of kamal-proxy beside Conductor")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "short: a benchmark that the short form also runs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if is_short(config):
        others = [item for item in items if not item.get_closest_marker("short")]
        config.hook.pytest_deselected(items=others)
        items[:] = sorted((item for item in items if item not in others), key=lambda item: "supervise" in item.nodeid)


def is_short(config: pytest.Config) -> bool:
    """Return whether this is the short form. The option is unknown when all tests run."""
    return bool(config.getoption("--short", default=False))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Draw the pictures once, after all benchmarks."""
    if session.config.stash.get(WRITTEN, False):
        draw(json.loads(FILE.read_text()), PAGE.parent)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """What the test measures; it is written also when a bound is missed."""
    short = is_short(request.config)
    until = BEGAN + SHORT_SECONDS if short else math.inf
    if time.monotonic() > until:
        pytest.skip(f"the short form has run for {SHORT_SECONDS:g} s")
    most_pairs = request.config.getoption("--most-pairs", default=0)
    found = Figures(short=short, most_pairs=most_pairs, until=until)
    yield found
    request.config.stash[WRITTEN] = found.write() or request.config.stash.get(WRITTEN, False)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables of a host with 50 services, whose daemon accepts connections and does not answer."""
    service = "{{image: registry.example.com/web, port: 80, health: {{path: /}}, nginx: {{upstream: web{0}}}}}"
    services = "\n".join(f"  web{number}: {service.format(number)}" for number in range(SERVICES))
    host = f"{{state_dir: {tmp_path}, docker: 'unix://{tmp_path}/docker'}}"
    (tmp_path / "services.yml").write_text(f"version: 1\nhost: {host}\nservices:\n{services}\n")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "docker"))
        silent.listen(100)
        yield {**compiled(os.environ), "CONDUCTOR_CONFIG": str(tmp_path / "services.yml")}


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    result = yield
    if isinstance(figures := pyfuncitem.funcargs.get("figures"), Figures):
        figures.require_bounds()
    return result
