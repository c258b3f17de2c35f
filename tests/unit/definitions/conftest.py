"""Load definitions from a text."""

from collections.abc import Callable
from pathlib import Path

import pytest

from conductor.definitions.load import Definitions, load


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Definitions]:
    """Return a function that loads a text as a file named services.yml."""

    def read_text(text: str) -> Definitions:
        path = tmp_path / "services.yml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return read_text
