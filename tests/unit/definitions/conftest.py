"""Definitions from text, as a file would hold them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from conductor.definitions.load import Definitions, load


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Definitions]:
    """Loads a text; the file is named services.yml."""

    def read_text(text: str) -> Definitions:
        path = tmp_path / "services.yml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return read_text


# A busy machine is no failure.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
