"""Load definitions from a text."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from conductor.definitions.load import Definitions, load


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Definitions]:
    """Return a function that loads a text as a file named services.yml."""

    def read_text(text: str) -> Definitions:
        path = tmp_path / "services.yml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return read_text


# A slow run on a busy machine must not fail a test.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
