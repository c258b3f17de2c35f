"""The campaign needs root, Docker and nginx; `tests/run` provides them."""

import pytest

from tests.support.real_parts import need_real_parts


@pytest.fixture(scope="session", autouse=True)
def real_parts() -> None:
    need_real_parts()
